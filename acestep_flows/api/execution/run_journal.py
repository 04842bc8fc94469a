"""What one run tells, gathered between two writes: events, the state of its nodes, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from acestep_flows.api.store.leases import SETTLED, RunChanges
from acestep_flows.api.store.records import NodeRecord
from acestep_flows.graph.execution.events import ENDS, Event
from acestep_flows.graph.execution.result import SongPreview
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import Plan

UNTIMED_SECONDS = 0.3
UNTIMED_STEP_SECONDS = 0.1
"""What a node that was never timed counts for, in all or for each step."""


class Journal:
    """Hears the events of one run on the event loop; `take` gives what is to be written.

    Args:
        nodes: as they stand when the run starts or goes on; those settled before stay so.
        weights: what each node counts for, by position.
        progress: where the run stands already.
    """

    def __init__(self, nodes: Sequence[NodeRecord], weights: Sequence[float], progress: float = 0.0) -> None:
        self._nodes = list(nodes)
        self._at = {node.id: position for position, node in enumerate(nodes)}
        self._weights = weights
        self._total = sum(weights) or 1.0
        self._shares = [1.0 if node.state in SETTLED else 0.0 for node in nodes]
        self._events: list[tuple[str, Mapping[str, Any]]] = []
        self._steps: dict[int, tuple[str, Mapping[str, Any]]] = {}
        """By node, the event of its latest step: the next one comes in its stead, at the end of `_events`."""
        self._changed: dict[int, NodeRecord] = {}
        self._done = sum(weight for weight, share in zip(weights, self._shares, strict=True) if share)
        self.progress = progress

    def hear(self, event: Event) -> None:
        """Take note of an event; those of the run itself are for the store to tell."""
        if not event.node:
            return
        at = self._at[event.node]
        node = _after(self._nodes[at], event)
        if node is not self._nodes[at]:
            self._nodes[at] = self._changed[at] = node
            self._count(at, node)
        told = event.type, event.as_json() | {"progress": round(self.progress, 4)}
        before = self._steps.pop(at, None)
        if event.type == "progress":
            self._steps[at] = told
            if before is not None:
                self._events = [other for other in self._events if other is not before]
        self._events.append(told)

    def preview(self, preview: SongPreview, more: Mapping[str, Any]) -> None:
        """Take note that there is a preview to be heard."""
        body = {"type": "preview", "node": preview.node, "stage": preview.stage, "time": time.time()}
        body |= {"step": preview.step, "steps": preview.steps, **more, "progress": round(self.progress, 4)}
        self._events.append(("preview", body))

    def take(self) -> RunChanges | None:
        """What happened since the last time; None where nothing did."""
        if not self._events and not self._changed:
            return None
        changes = RunChanges(self._events, self._changed, self.progress)
        self._events, self._changed, self._steps = [], {}, {}
        return changes

    def restore(self, changes: RunChanges) -> None:
        """Take back what could not be written."""
        self._events = [*changes.events, *self._events]
        self._changed = {**changes.nodes, **self._changed}
        self._steps = {}

    def _count(self, at: int, node: NodeRecord) -> None:
        share = 1.0 if node.state in SETTLED else 0.0
        if node.state == "started" and node.step is not None and node.steps:
            share = min(node.step / node.steps, 1.0)
        self._done += (share - self._shares[at]) * self._weights[at]
        self._shares[at] = share
        # Outputs are yet to be written when all nodes are done.
        self.progress = max(self.progress, min(self._done / self._total, 0.999))


def weights(plan: Plan, scheduler: Scheduler) -> list[float]:
    """What each node of a plan counts for: the seconds it took before, where it is known."""
    return [_weight(node.stage, node.inputs, scheduler) for node in plan.nodes.values()]


def _weight(name: str, inputs: Mapping[str, Any], scheduler: Scheduler) -> float:
    stage = scheduler.stage(name)
    steps = None
    if (field := stage.Params.model_fields.get("steps")) is not None:
        steps = inputs.get("steps", field.default)
    estimate = scheduler.timings.estimate(name, scheduler.runner.numerics(stage), steps)
    if estimate is not None:
        return max(estimate.seconds, 0.001)
    return UNTIMED_STEP_SECONDS * steps if isinstance(steps, int) and steps > 0 else UNTIMED_SECONDS


def _after(node: NodeRecord, event: Event) -> NodeRecord:
    """The node after an event. One settled before the run went on is only told again, unless it starts anew."""
    settled = node.state in SETTLED
    if event.type == "queued":
        return node if settled else replace(node, state="queued")
    if event.type == "started":
        return replace(node, state="started", started_at=event.time, finished_at=None, step=None, steps=None)
    if event.type == "progress":
        return replace(node, state="started", step=event.step, steps=event.steps)
    if event.type not in ENDS or (settled and event.type in SETTLED):
        return node
    return replace(
        node,
        state=event.type,
        finished_at=event.time,
        seconds=event.seconds,
        step=node.steps if event.type == "finished" else node.step,
        error=None if event.error is None else {"code": event.error.code, "message": str(event.error)},
    )
