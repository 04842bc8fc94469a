"""OpenTelemetry spans of runs, made while they go on: one for an attempt at a run, and a child for each node.

A run continues the trace of the request that submitted it. Attempts of several executors at one run are in one trace.
Messages of errors are not told, because they may have words of callers; their codes are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import ClaimedRun, RunRecord
from acestep_flows.errors import FlowsError
from acestep_flows.graph.execution.events import ENDS, Event
from acestep_flows.tracing.context import context_of, traceparent_of
from acestep_flows.tracing.provider import NAME, has_provider

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["RunTrace", "has_provider"]


class RunTrace:
    """The spans of one attempt at a run.

    Args:
        record: the run.
        attempt: how often it was claimed.
        traceparent: of the request or of an earlier attempt; empty for a new trace.
        provider: tracer provider; by default that of the process.
    """

    def __init__(
        self, record: RunRecord, attempt: int, traceparent: str = "", provider: TracerProvider | None = None
    ) -> None:
        from opentelemetry import trace

        self._tracer = trace.get_tracer(NAME, tracer_provider=provider)
        fields = {"run": record.id, "graph": record.graph, "attempt": attempt}
        self._span: Any = self._tracer.start_span(
            f"run {record.graph}", context_of(traceparent), attributes=_attributes(fields)
        )
        self._context = trace.set_span_in_context(self._span, context_of(""))
        self._nodes: dict[str, Any] = {}
        self._ended = False

    @property
    def traceparent(self) -> str:
        """The context of the run's span."""
        return traceparent_of(self._span)

    def hearing(self, listener: Callable[[Event], None]) -> Callable[[Event], None]:
        """A listener that makes the spans of nodes and passes each event on.

        A node's span is the current one in the task that announces it, so that the calls of the node carry it along.
        """

        def hear(event: Event) -> None:
            if event.node:
                self._hear(event)
            listener(event)

        return hear

    def end(self, state: str, error: FlowsError | None = None) -> None:
        """End the run's span, and those of nodes that have not ended. Further calls do nothing."""
        if self._ended:
            return
        self._ended = True
        for span in self._nodes.values():
            span.end()
        self._span.set_attribute(f"{NAME}.state", state)
        _note_error(self._span, error)
        self._span.end()

    def _hear(self, event: Event) -> None:
        from opentelemetry import context, trace

        span = self._nodes.get(event.node)
        if span is None:
            span = self._tracer.start_span(
                event.node, self._context, attributes=_attributes({"stage": event.stage}), start_time=_at(event)
            )
            self._nodes[event.node] = span
        if event.type == "queued":
            context.attach(trace.set_span_in_context(span))
        elif event.type == "started":
            span.add_event("started", timestamp=_at(event))
        if event.type in ENDS:
            fields = {"state": event.type, "steps": event.steps, "seconds": event.seconds}
            span.set_attributes(_attributes(fields))
            _note_error(span, event.error)
            span.end(_at(event))
            del self._nodes[event.node]


def begin_trace(home: Home, claimed: ClaimedRun, provider: TracerProvider | None = None) -> RunTrace:
    """The spans of an attempt that begins, in the trace of the request or of the attempt before. Blocks."""
    run = claimed.record
    before = home.traces.of(run.id)
    trace = RunTrace(run, claimed.lease.attempt, before, provider)
    if not before:
        home.traces.keep(run.id, trace.traceparent)
    return trace


def _note_error(span: Any, error: FlowsError | None) -> None:
    if error is None:
        return
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute(f"{NAME}.error", error.code)
    span.set_status(Status(StatusCode.ERROR, error.code))


def _attributes(fields: dict[str, Any]) -> dict[str, Any]:
    return {f"{NAME}.{name}": value for name, value in fields.items() if value is not None}


def _at(event: Event) -> int:
    return int(event.time * 1e9)
