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
    cache_keys = CacheKeys(scheduler.runner)
    known: dict[str, Outputs] = {}
    nodes: list[NodeForecast] = []
    begun = time.monotonic()
    for node in plan.nodes.values():
        nodes.append(await _node(node, scheduler, cache_keys, known, held, alone))
        if time.monotonic() - begun > WORK_SECONDS:  # others wait for this event loop
            await asyncio.sleep(0)
            begun = time.monotonic()
    peak = (scheduler.timings if alone is None else alone).peak(plan.graph)
    return Forecast(tuple(nodes), _peak_held(plan, nodes), peak)


async def _node(
    node: PlanNode,
    scheduler: Scheduler,
    cache_keys: CacheKeys,
    known: dict[str, Outputs],
    held: Mapping[int, Handle],
    alone: Timings | None,
) -> NodeForecast:
    timings = scheduler.timings if alone is None else alone
    try:
        stage = scheduler.stage(node.stage)
        if not node.needs() <= known.keys():
            return _computed(node, stage, scheduler, timings, _planned_steps(node, stage))
        if not runs(node, known, held):
            known[node.id] = SKIPPED
            return NodeForecast(node.id, node.stage, "skipped", 0.0, 0)
        call = call_of(node, stage, known, held)
        key = (await cache_keys.of(call)).digest
        outputs = scheduler.cache.peek(key) if alone is None else None
    except FlowsError as error:
        return NodeForecast(node.id, node.stage, "refused", problem=str(error))
    if outputs is None:
        return _computed(node, stage, scheduler, timings, getattr(call.params, "steps", None))
    known[node.id] = outputs
    return NodeForecast(node.id, node.stage, "cached", 0.0, value_bytes(outputs))


def _computed(
    node: PlanNode, stage: type[Stage], scheduler: Scheduler, timings: Timings, steps: object
) -> NodeForecast:
    estimate = timings.estimate(node.stage, scheduler.runner.numerics(stage), steps)
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
