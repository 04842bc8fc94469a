"""Collects what happens to one run between two writes: its events, the states of its nodes, and its progress."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from acestep_flows.api.execution.untold_hits import UntoldHits
from acestep_flows.api.store.leases import RunChanges
from acestep_flows.api.store.node_rows import SETTLED
from acestep_flows.api.store.records import NodeRecord
from acestep_flows.api.store.rows import error_json
from acestep_flows.graph.execution.events import ENDS, Event
from acestep_flows.graph.execution.result import SongPreview
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.song_length import planned_lengths
from acestep_flows.graph.planning.plan import Plan

UNTIMED_SECONDS = 0.3
UNTIMED_STEP_SECONDS = 0.1
"""Weight in seconds of a node that was never timed, in all or for each step."""


class Journal:
    """Collects the events of one run on the event loop. `take_changes` returns what to write.

    Args:
        nodes: the nodes when the run starts or continues. Settled nodes stay settled.
        weights: weight of each node in the progress, by position.
        progress: progress of the run so far, 0 to 1.
        untold: tells cache hits as computations; None tells them as they are.
        former: the journal of an attempt that a store ended. What it has not written is for this one to write.
        unwritten: whether the nodes are not in the run table yet. The first changes have them all.
    """

    def __init__(
        self,
        nodes: Sequence[NodeRecord],
        weights: Sequence[float],
        progress: float = 0.0,
        untold: UntoldHits | None = None,
        former: Journal | None = None,
        unwritten: bool = False,
    ) -> None:
        self._untold = untold
        self._nodes = list(nodes)
        self._at = {node.id: position for position, node in enumerate(nodes)}
        self._weights = weights
        self._total = sum(weights) or 1.0
        self._shares = [1.0 if node.state in SETTLED else 0.0 for node in nodes]
        self._events: list[tuple[str, Mapping[str, Any]]] = []
        self._steps: dict[int, tuple[str, Mapping[str, Any]]] = {}
        """By node, the event of its latest step. The next step's event replaces it, at the end of `_events`."""
        self._changed: dict[int, NodeRecord] = dict(enumerate(nodes)) if unwritten else {}
        self._done = sum(weight for weight, share in zip(weights, self._shares, strict=True) if share)
        self.progress = progress
        if former is not None:
            self._take_over(former)

    def add_event(self, event: Event) -> None:
        """Add an event of a node. Events of the run itself are written by the store."""
        if not event.node:
            return
        state = self._nodes[self._at[event.node]].state
        if self._untold is None:
            self._add(event)
        elif event.type not in ("queued", "cached") or state not in SETTLED:
            for shown in self._untold.events(event, begun=state == "started"):
                self._add(shown)

    def _add(self, event: Event) -> None:
        at = self._at[event.node]
        node = _apply(self._nodes[at], event)
        if node is not self._nodes[at]:
            self._nodes[at] = self._changed[at] = node
            self._update_progress(at, node)
        entry = event.type, event.as_json() | {"progress": round(self.progress, 4)}
        before = self._steps.pop(at, None)
        if event.type == "progress":
            self._steps[at] = entry
            if before is not None:
                self._events = [other for other in self._events if other is not before]
        self._events.append(entry)

    def add_preview(self, preview: SongPreview, more: Mapping[str, Any]) -> None:
        """Add the event of a new preview. `more` has the fields of its file."""
        body = {"type": "preview", "node": preview.node, "stage": preview.stage, "time": time.time()}
        body |= {"step": preview.step, "steps": preview.steps, **more, "progress": round(self.progress, 4)}
        self._events.append(("preview", body))

    def take_changes(self) -> RunChanges | None:
        """What happened since the last call; None if nothing did."""
        if not self._events and not self._changed:
            return None
        changes = RunChanges(self._events, self._changed, self.progress)
        self._events, self._changed, self._steps = [], {}, {}
        return changes

    def restore(self, changes: RunChanges) -> None:
        """Put back changes that could not be written."""
        self._events = [*changes.events, *self._events]
        self._changed = {**changes.nodes, **self._changed}
        self._steps = {}

    def _take_over(self, former: Journal) -> None:
        self.progress = max(self.progress, former.progress)
        for at, node in enumerate(former._nodes):
            if node.state in SETTLED and self._nodes[at].state not in SETTLED:
                self._nodes[at] = self._changed[at] = node
                self._update_progress(at, node)
        changes = former.take_changes()
        if changes is not None:
            self._events = [*changes.events, *self._events]

    def _update_progress(self, at: int, node: NodeRecord) -> None:
        share = 1.0 if node.state in SETTLED else 0.0
        if node.state == "started" and node.step is not None and node.steps:
            share = min(node.step / node.steps, 1.0)
        self._done += (share - self._shares[at]) * self._weights[at]
        self._shares[at] = share
        # Below 1 even when all nodes are done, because the outputs are not written yet.
        self.progress = max(self.progress, min(self._done / self._total, 0.999))


def node_weights(plan: Plan, scheduler: Scheduler) -> list[float]:
    """Weight of each node of a plan: the seconds that its stage took before, or a guess."""
    lengths = planned_lengths(plan, scheduler.stages)
    return [_weight(node.stage, node.inputs, lengths[node.id], scheduler) for node in plan.nodes.values()]


def _weight(name: str, inputs: Mapping[str, Any], length: float | None, scheduler: Scheduler) -> float:
    stage = scheduler.stage(name)
    steps = None
    if (field := stage.Params.model_fields.get("steps")) is not None:
        steps = inputs.get("steps", field.default)
    estimate = scheduler.timings.estimate(name, scheduler.runner.numerics(stage), steps, length)
    if estimate is not None:
        return max(estimate.seconds, 0.001)
    return UNTIMED_STEP_SECONDS * steps if isinstance(steps, int) and steps > 0 else UNTIMED_SECONDS


def _apply(node: NodeRecord, event: Event) -> NodeRecord:
    """The node after an event. A node that was settled before stays as it is, unless it starts again."""
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
        error=None if event.error is None else error_json(event.error),
    )
