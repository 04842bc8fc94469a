"""OpenTelemetry spans of finished runs: one for the run, and a child for each node.

Only the OpenTelemetry API is used. A server that was started under a tracer provider (`opentelemetry-instrument
acestep-flows serve`) emits spans; without one nothing happens. Spans are made from the records of a run after its end,
so a run that outlived an executor has one trace too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import NodeRecord, RunRecord

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

NAME = "acestep_flows"


def has_provider() -> bool:
    """Whether this process has a tracer provider."""
    try:
        from opentelemetry import trace
    except ImportError:
        return False
    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))


def trace_run(home: Home, run: str, provider: TracerProvider | None = None) -> None:
    """Read a run that has ended, and emit its spans. Blocks."""
    emit_spans(home.runs.get(run), home.runs.nodes(run), provider)


def emit_spans(record: RunRecord, nodes: Sequence[NodeRecord], provider: TracerProvider | None = None) -> None:
    """Emit the spans of a run that has ended.

    Args:
        provider: tracer provider; by default that of the process.
    """
    from opentelemetry import trace
    from opentelemetry.context import Context

    tracer = trace.get_tracer(NAME, tracer_provider=provider)
    start = record.started_at if record.started_at is not None else record.created_at
    end = record.finished_at if record.finished_at is not None else start
    fields: dict[str, Any] = {
        "run": record.id,
        "graph": record.graph,
        "state": record.state.value,
        "attempt": record.attempt,
    }
    run_span = tracer.start_span(
        f"run {record.graph}", Context(), attributes=_attributes(fields), start_time=_nanoseconds(start)
    )
    context = trace.set_span_in_context(run_span, Context())
    for node in nodes:
        if (node_end := node.finished_at) is None:
            continue
        node_start = node.started_at if node.started_at is not None else node_end
        fields = {"stage": node.stage, "state": node.state, "steps": node.steps, "seconds": node.seconds}
        span = tracer.start_span(node.id, context, attributes=_attributes(fields), start_time=_nanoseconds(node_start))
        _end_span(span, node.error, node_end)
    _end_span(run_span, record.error, end)


def _end_span(span: Any, error: Any, at: float) -> None:
    from opentelemetry.trace import Status, StatusCode

    if error is not None:
        span.set_attribute(f"{NAME}.error", error["code"])
        span.set_status(Status(StatusCode.ERROR, error["message"]))
    span.end(_nanoseconds(at))


def _attributes(fields: dict[str, Any]) -> dict[str, Any]:
    return {f"{NAME}.{name}": value for name, value in fields.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
