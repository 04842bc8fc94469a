"""Middleware that makes a span for each request, which continues the caller's trace (W3C `traceparent`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep_flows.tracing.context import HEADER, context_of
from acestep_flows.tracing.provider import NAME

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

UNTRACED = ("/healthz", "/readyz", "/metrics")
"""Paths that probes ask all the time."""


class RequestSpans:
    """Makes spans of requests. What a request does meanwhile has its span as the current one."""

    def __init__(self, app: ASGIApp, provider: TracerProvider | None) -> None:
        from opentelemetry import trace

        self._app, self._tracer = app, trace.get_tracer(NAME, tracer_provider=provider)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        caller = dict(scope["headers"]).get(HEADER.encode(), b"").decode("latin-1")
        fields = {"http.request.method": scope["method"]}
        span = self._tracer.start_as_current_span(
            scope["method"], context_of(caller), SpanKind.SERVER, fields, record_exception=False
        )

        with span as current:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", None)
                    if route is not None:
                        current.update_name(f"{scope['method']} {route}")
                        current.set_attribute("http.route", route)
                    current.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        current.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self._app(scope, receive, answer)
