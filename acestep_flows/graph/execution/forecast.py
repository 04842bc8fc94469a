"""The dry run: what a plan would do, without doing it.

Walks the plan as a run would, as far as cached outputs tell what comes next. A node behind one that would be computed
has unknown inputs and an unknown key, so it counts as computed (it may still turn out cached).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from acestep_flows.errors import FlowsError
from acestep_flows.graph.content import Handle, Outputs, value_bytes
from acestep_flows.graph.execution.cache_key import CacheKeys
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.song_length import music_seconds, planned_seconds
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.graph.planning.plan import Plan, PlanNode, outputs_in
from acestep_flows.graph.planning.resolve import SKIPPED, call_of, runs, values_of
from acestep_flows.stages.contract import Stage

WORK_SECONDS = 0.005
"""How long a forecast holds its event loop at once."""

Fate: TypeAlias = Literal["cached", "computed", "skipped", "refused"]


@dataclass(frozen=True)
class NodeForecast:
    """What a run would do with one node.

    Attributes:
        seconds: 0 when cached or skipped, None when the stage was never timed.
        nbytes: size of its outputs, None when unknown.
        problem: the reason it would be refused.
    """

    id: str
    stage: str
    fate: Fate
    seconds: float | None = None
    nbytes: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Forecast:
    """What a run would do with a plan.

    Attributes:
        nodes: in the order of the plan.
        held: peak bytes of values alive at once when nodes run in that order; unknown sizes count as 0.
        peak: peak memory in bytes of the process when this graph last ran, weights included; None if it never did.
    """

    nodes: tuple[NodeForecast, ...]
    held: int
    peak: int | None = None

    @property
    def seconds(self) -> float:
        """Seconds of all nodes one after the other, without those that were never timed."""
        return sum(node.seconds or 0.0 for node in self.nodes)

    @property
    def complete(self) -> bool:
        """Whether every node that would be computed has been timed before."""
        return all(node.seconds is not None for node in self.nodes if node.fate == "computed")


async def forecast(plan: Plan, scheduler: Scheduler, alone: Timings | None = None) -> Forecast:
    """What `scheduler` would do with `plan`. Computes nothing and loads no model; it may digest weights files.

    Args:
        alone: forecast from these timings, as if nobody had used the scheduler: with nothing cached.
    """
    values = values_of(plan)
    held = dict(zip(values, await scheduler.runner.hold(list(values.values())), strict=True)) if values else {}
    walk = _Walk(scheduler, held, alone)
    nodes: list[NodeForecast] = []
    begun = time.monotonic()
    for node in plan.nodes.values():
        nodes.append(await walk.visit(node))
        if time.monotonic() - begun > WORK_SECONDS:  # others wait for this event loop
            await asyncio.sleep(0)
            begun = time.monotonic()
    return Forecast(tuple(nodes), _peak_held(plan, nodes), walk.timings.peak(plan.graph))


class _Walk:
    """A walk over the nodes of a plan, in their order."""

    def __init__(self, scheduler: Scheduler, held: Mapping[int, Handle], alone: Timings | None) -> None:
        self.timings = scheduler.timings if alone is None else alone
        self._scheduler, self._held, self._alone = scheduler, held, alone is not None
        self._cache_keys = CacheKeys(scheduler.runner)
        self._known: dict[str, Outputs] = {}
        self._lengths: dict[str, float | None] = {}

    async def visit(self, node: PlanNode) -> NodeForecast:
        """What a run would do with the next node."""
        scheduler = self._scheduler
        try:
            stage = scheduler.stage(node.stage)
            self._lengths[node.id] = planned_seconds(node, stage, self._lengths)
            if not node.needs() <= self._known.keys():
                return self._computed(node, stage, _planned_steps(node, stage))
            if not runs(node, self._known, self._held):
                self._known[node.id], self._lengths[node.id] = SKIPPED, None
                return NodeForecast(node.id, node.stage, "skipped", 0.0, 0)
            call = call_of(node, stage, self._known, self._held)
            key = (await self._cache_keys.of(call)).digest
            outputs = None if self._alone else scheduler.cache.peek(key)
        except FlowsError as error:
            return NodeForecast(node.id, node.stage, "refused", problem=str(error))
        if outputs is None:
            return self._computed(node, stage, getattr(call.params, "steps", None))
        self._known[node.id] = outputs
        self._lengths[node.id] = music_seconds(outputs) or self._lengths[node.id]
        return NodeForecast(node.id, node.stage, "cached", 0.0, value_bytes(outputs))

    def _computed(self, node: PlanNode, stage: type[Stage], steps: object) -> NodeForecast:
        numerics, length = self._scheduler.runner.numerics(stage), self._lengths[node.id]
        estimate = self.timings.estimate(node.stage, numerics, steps, length)
        if estimate is None:
            return NodeForecast(node.id, node.stage, "computed")
        return NodeForecast(node.id, node.stage, "computed", estimate.seconds, estimate.nbytes)


def _planned_steps(node: PlanNode, stage: type[Stage]) -> object:
    """The step count a node will run with, as far as the plan tells: its literal, or the default."""
    if "steps" not in stage.Params.model_fields:
        return None
    return node.inputs.get("steps", stage.Params.model_fields["steps"].default)


def _peak_held(plan: Plan, nodes: Iterable[NodeForecast]) -> int:
    """Peak bytes of outputs alive at once: from when a node is done until the last node that needs it is."""
    users = Counter(source for node in plan.nodes.values() for source in node.needs())
    users.update(output.node for output in outputs_in(plan.outputs))  # never counted down: these stay
    sizes: dict[str, int] = {}
    alive = peak = 0
    for node in nodes:
        sizes[node.id] = node.nbytes or 0
        alive += sizes[node.id]
        peak = max(peak, alive)
        needs = plan.nodes[node.id].needs()
        users.subtract(needs)
        alive -= sum(sizes[id] for id in (node.id, *needs) if users[id] <= 0)
    return peak
