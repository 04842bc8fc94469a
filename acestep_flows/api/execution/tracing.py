"""OpenTelemetry spans of finished runs: one for the run, one below it for every node.

Only the API is used: who starts the server under a tracer provider (`opentelemetry-instrument acestep-flows serve`)
gets the spans, and without one nothing is done. They are made from the run's records once it is over, so a run that
outlived an executor has one trace, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acestep_flows.api.store.records import NodeRecord, RunRecord

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

NAME = "acestep_flows"


def listening() -> bool:
    """Whether a tracer provider was set up in this process."""
    try:
        from opentelemetry import trace
    except ImportError:
        return False
    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))


def emit(record: RunRecord, nodes: Sequence[NodeRecord], provider: TracerProvider | None = None) -> None:
    """Make the spans of a run that is over.

    Args:
        provider: by default the one of this process.
    """
    from opentelemetry import trace
    from opentelemetry.context import Context

    tracer = trace.get_tracer(NAME, tracer_provider=provider)
    begun = record.started_at if record.started_at is not None else record.created_at
    ended = record.finished_at if record.finished_at is not None else begun
    told = {"run": record.id, "graph": record.graph, "state": record.state.value, "attempt": record.attempt}
    whole = tracer.start_span(f"run {record.graph}", Context(), attributes=_named(told), start_time=_ns(begun))
    inside = trace.set_span_in_context(whole, Context())
    for node in nodes:
        if (over := node.finished_at) is None:
            continue
        start = node.started_at if node.started_at is not None else over
        about: dict[str, Any] = {"stage": node.stage, "state": node.state, "steps": node.steps, "seconds": node.seconds}
        span = tracer.start_span(node.id, inside, attributes=_named(about), start_time=_ns(start))
        _end(span, node.error, over)
    _end(whole, record.error, ended)


def _end(span: Any, error: Any, at: float) -> None:
    from opentelemetry.trace import Status, StatusCode

    if error is not None:
        span.set_attribute(f"{NAME}.error", error["code"])
        span.set_status(Status(StatusCode.ERROR, error["message"]))
    span.end(_ns(at))


def _named(told: dict[str, Any]) -> dict[str, Any]:
    return {f"{NAME}.{name}": given for name, given in told.items() if given is not None}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
