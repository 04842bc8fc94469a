"""How a run is to go, and what became of it."""

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
    """Where events go when nobody listens."""


@dataclass(frozen=True, slots=True)
class SongPreview:
    """A song on its way: what `latents` would decode to is how it looks after `step` of `steps`."""

    node: str
    stage: str
    step: int
    steps: int
    latents: Latents


def unseen(preview: SongPreview) -> None:
    """Where previews go when nobody asked for them."""


@dataclass(frozen=True)
class Options:
    """How a run is to go.

    Attributes:
        mode: what the cache may do.
        deadline: seconds from the start after which the run is stopped at the next step boundary.
        keep_going: after a failure, still make the outputs that do not depend on it, instead of stopping.
        on_event: called on the event loop's thread, in order; must not raise and must not block.
        preview_every: steps between previews of nodes that sample; 0: none. Results do not depend on it. A node that is
            not computed has none; of runs that wait for one computation, what the first of them asked for counts.
        on_preview: as `on_event`.
    """

    mode: Mode = "use"
    deadline: float | None = None
    keep_going: bool = False
    on_event: Callable[[Event], None] = ignore_event
    preview_every: int = 0
    on_preview: Callable[[SongPreview], None] = unseen

    def __post_init__(self) -> None:
        if self.deadline is not None and not math.isfinite(self.deadline):
            raise InputError(f"{self.deadline}", where="deadline", allowed="a finite number of seconds")


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What became of one node.

    Attributes:
        cache_key: what its outputs depend on, with the cache key; None when it was skipped.
        outputs: fingerprints of its outputs by port; empty when it was skipped.
        source: computed, or where it was found.
        seconds: what the stage worked; 0 when found on disk.
        seeds: the seeds among its parameters.
    """

    id: str
    stage: str
    cache_key: CacheKey | None = None
    outputs: Mapping[str, object] = field(default_factory=dict)
    source: ResultSource = "computed"
    seconds: float = 0.0
    seeds: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A run that is over.

    Attributes:
        outputs: content by output name; `Runner.fetch` gives the values. None for what was not taken.
        nodes: by id, in the order of the plan; those that failed or were cancelled are not in it.
        seconds: of the whole run.
        failures: by node; only a run that keeps going has any.
    """

    plan: Plan
    outputs: Mapping[str, Content]
    nodes: Mapping[str, NodeResult]
    seconds: float
    failures: Mapping[str, FlowsError] = field(default_factory=dict)
