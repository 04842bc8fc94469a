"""Tells a result of the cache as one that was computed, where callers share a server.

The cache is shared, so a caller may get what another one rendered. Nothing of the run says so: not its nodes and
events, not its recipe, not its usage. That the run ends sooner cannot be hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.execution.result import NodeResult, Result
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import Plan


class UntoldHits:
    """The cache hits of one run, told as computations.

    Args:
        weights: seconds of each node, by position, where the cache does not know them.
    """

    def __init__(self, plan: Plan, scheduler: Scheduler, weights: Sequence[float]) -> None:
        self._seconds = dict(zip(plan.nodes, weights, strict=True))
        self._steps = {node.id: scheduler.step_count(node.stage, node.inputs) for node in plan.nodes.values()}

    def events(self, event: Event, begun: bool) -> tuple[Event, ...]:
        """The events to tell in place of one.

        Args:
            begun: whether the node has started, as one does that waits for the same work of another run.
        """
        if event.type != "cached":
            return (event,)
        started = replace(event, type="started", seconds=None)
        finished = replace(event, type="finished", seconds=self._seconds_of(event.node, event.seconds))
        if begun:
            return (finished,)
        if (steps := self._steps[event.node]) is None:
            return started, finished
        return started, replace(started, type="progress", step=steps, steps=steps), finished

    def result(self, result: Result) -> Result:
        """A result whose recipe names no hit."""
        return replace(result, nodes={id: self._as_computed(node) for id, node in result.nodes.items()})

    def _as_computed(self, node: NodeResult) -> NodeResult:
        return replace(node, source="computed", seconds=self._seconds_of(node.id, node.seconds))

    def _seconds_of(self, node: str, known: float | None) -> float:
        return known or round(self._seconds[node], 4)
