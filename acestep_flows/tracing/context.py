"""Trace contexts as text (W3C `traceparent`), to send with a call or to store beside a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

HEADER = "traceparent"
LONGEST = 55
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: str) -> bool:
    """Whether a text names a span of a trace."""
    return _FORM.fullmatch(text) is not None


def current_traceparent() -> str:
    """The context of the current span, as text; empty if there is none that is recorded."""
    try:
        from opentelemetry import trace
    except ImportError:
        return ""
    return traceparent_of(trace.get_current_span())


def traceparent_of(span: Span) -> str:
    """The context of a span, as text; empty if it is not valid."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def context_of(traceparent: str) -> Context:
    """A context whose span is the one that a text names; the empty context if it names none."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if not is_traceparent(traceparent):
        return Context()
    return TraceContextTextMapPropagator().extract({HEADER: traceparent}, Context())
