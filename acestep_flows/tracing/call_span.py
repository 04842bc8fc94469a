"""The span of a call that this process answers, as a child of the caller's span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acestep_flows.tracing.context import context_of
from acestep_flows.tracing.provider import NAME, has_provider

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class CallSpan:
    """A span from now until `end`. It does nothing without a provider, and for a call without a trace.

    Args:
        name: of the span.
        traceparent: the caller's context; empty for none.
        fields: attributes, whose names get the prefix of this package.
        provider: tracer provider; by default that of the process.
    """

    def __init__(
        self, name: str, traceparent: str, fields: Mapping[str, Any], provider: TracerProvider | None = None
    ) -> None:
        self._span: Any = None
        if not traceparent or (provider is None and not has_provider()):
            return
        from opentelemetry.trace import SpanKind, get_tracer

        attributes = {f"{NAME}.{field}": value for field, value in fields.items()}
        tracer = get_tracer(NAME, tracer_provider=provider)
        self._span = tracer.start_span(name, context_of(traceparent), SpanKind.SERVER, attributes)

    def failed(self, code: str) -> None:
        """Note the code of an error."""
        if self._span is None:
            return
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute(f"{NAME}.error", code)
        self._span.set_status(Status(StatusCode.ERROR, code))

    def end(self) -> None:
        """End the span."""
        if self._span is not None:
            self._span.end()
