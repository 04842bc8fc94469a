"""The scheduler: runs checked plans over a runner, with the cache in between.

It outlives runs: what it holds (registry, runner, cache, timings) is shared by all of them, so that runs of one
process find each other's work. `Run` in `run.py` is one plan under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from acestep_flows.errors import FlowsError, LostProcess, NotFound
from acestep_flows.graph.bindings import Identity
from acestep_flows.graph.cache import Cache, Mode, Source
from acestep_flows.graph.events import Event
from acestep_flows.graph.plan import Plan
from acestep_flows.graph.runner import Call, Content, Progress, Reply, Runner
from acestep_flows.graph.timings import Timings
from acestep_flows.stages.contract import Stage

RETRIES = 2
"""How often a call is made again after its process was lost. Nothing else is retried: stages are pure."""


def unheard(event: Event) -> None:
    """Where events go when nobody listens."""


@dataclass(frozen=True)
class Options:
    """How a run is to go.

    Attributes:
        mode: what the cache may do.
        deadline: seconds from the start after which the run is stopped at the next step boundary.
        keep_going: after a failure, still make the outputs that do not depend on it, instead of stopping.
        on_event: called on the event loop's thread, in order; must not raise and must not block.
    """

    mode: Mode = "use"
    deadline: float | None = None
    keep_going: bool = False
    on_event: Callable[[Event], None] = unheard


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What became of one node.

    Attributes:
        identity: what its outputs depend on, with the cache key; None when it was skipped.
        outputs: fingerprints of its outputs by port; empty when it was skipped.
        source: computed, or where it was found.
        seconds: what the stage worked; 0 when found on disk.
        seeds: the seeds among its parameters.
    """

    id: str
    stage: str
    identity: Identity | None = None
    outputs: Mapping[str, object] = field(default_factory=dict)
    source: Source = "computed"
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


class Scheduler:
    """Runs plans.

    Args:
        stages: the registry, by name.
        runner: where stages run.
        cache: over the same runner; by default one in memory.
        timings: where computed calls are recorded.
    """

    def __init__(
        self,
        stages: Mapping[str, type[Stage]],
        runner: Runner,
        cache: Cache | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.stages, self.runner = stages, runner
        self.cache = cache if cache is not None else Cache(runner)
        self.timings = timings if timings is not None else Timings()

    async def run(self, plan: Plan, options: Options | None = None) -> Result:
        """Run `plan` to its end; cancelling the coroutine cancels the run. For a run to hold on to, see `Run`.

        Raises:
            StageError: a stage failed (the first failure, unless the run keeps going).
            InputError: a value turned out unusable; its text names the node.
            DeadlineExceeded: the deadline passed.
        """
        from acestep_flows.graph.run import Run

        return await Run(self, plan, options or Options()).result()

    def stage(self, name: str) -> type[Stage]:
        """The stage called `name`; raises NotFound."""
        if name not in self.stages:
            raise NotFound(f"no stage {name!r}; there are {', '.join(sorted(self.stages))}")
        return self.stages[name]

    async def compute(self, call: Call, progress: Progress) -> Reply:
        """Make the call, again where the process was lost on the way."""
        for _ in range(RETRIES):
            try:
                return await self.runner.call(call, progress)
            except LostProcess:
                continue
        return await self.runner.call(call, progress)
