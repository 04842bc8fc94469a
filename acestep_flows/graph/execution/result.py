"""The options of a run, and its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from acestep_flows.errors import FlowsError, InputError
from acestep_flows.graph.content import Content
from acestep_flows.graph.execution.cache import Mode, ResultSource
from acestep_flows.graph.execution.cache_key import CacheKey
from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.values import Latents


def ignore_event(event: Event) -> None:
    """Do nothing: the listener of runs without one."""


@dataclass(frozen=True, slots=True)
class SongPreview:
    """A song under way: `latents` are how it looks after `step` of `steps`."""

    node: str
    stage: str
    step: int
    steps: int
    latents: Latents


def ignore_preview(preview: SongPreview) -> None:
    """Do nothing: the listener of runs without one."""


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        mode: how the cache is used.
        deadline: seconds from the start after which the run is stopped at the next step boundary.
        late: what is said then; empty: that the run took so long.
        keep_going: after a failure, still make the outputs that do not depend on it, instead of stopping.
        on_event: called on the event loop's thread, in order; must not raise and must not block.
        preview_every: steps between previews of nodes that sample; 0: none. Results do not depend on it. A node that is
            not computed has none; where runs wait for one computation, the option of the first of them counts.
        on_preview: as `on_event`.
    """

    mode: Mode = "use"
    deadline: float | None = None
    keep_going: bool = False
    on_event: Callable[[Event], None] = ignore_event
    preview_every: int = 0
    on_preview: Callable[[SongPreview], None] = ignore_preview
    late: str = ""

    def __post_init__(self) -> None:
        if self.deadline is not None and not math.isfinite(self.deadline):
            raise InputError(f"{self.deadline}", where="deadline", allowed="a finite number of seconds")


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of one node.

    Attributes:
        cache_key: what its outputs depend on; None when it was skipped.
        outputs: fingerprints of its outputs by port; empty when it was skipped.
        source: computed, or the tier of the cache it came from.
        seconds: that the stage worked; 0 when its outputs came from disk.
        seeds: the seeds among its parameters.
    """

    id: str
    stage: str
    cache_key: CacheKey | None = None
    outputs: Mapping[str, object] = field(default_factory=dict)
    source: ResultSource = "computed"
    seconds: float = 0.0
    seeds: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether the node ran and its outputs were computed."""
        return self.cache_key is not None and self.source == "computed"


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        outputs: content by output name; `Runner.fetch` gives the values. None for outputs of skipped nodes.
        nodes: by id, in the order of the plan, without those that failed or were cancelled.
        seconds: of the whole run.
        failures: by node; only a run that keeps going has any.
    """

    plan: Plan
    outputs: Mapping[str, Content]
    nodes: Mapping[str, NodeResult]
    seconds: float
    failures: Mapping[str, FlowsError] = field(default_factory=dict)
