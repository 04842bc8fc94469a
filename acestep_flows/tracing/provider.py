"""The tracer provider of this process: one that is there already, or one that sends spans by OTLP."""

from __future__ import annotations

import contextlib

from acestep_flows.optional_packages import require
from acestep_flows.settings import Settings

NAME = "acestep_flows"
"""The instrumentation scope of our spans, and the service's name unless OTEL_SERVICE_NAME has another."""


def has_provider() -> bool:
    """Whether this process has a tracer provider."""
    try:
        from opentelemetry import trace
    except ImportError:
        return False
    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))


def start_provider(settings: Settings) -> None:
    """Send this process's spans where the environment says (OTEL_EXPORTER_OTLP_ENDPOINT), if it does.

    A provider that is there already, as `opentelemetry-instrument` makes one, stays.

    Raises:
        MissingPackage: the extra `tracing` is not installed.
    """
    if not settings.traces or has_provider():
        return
    require("tracing", "OTEL_EXPORTER_OTLP_ENDPOINT")
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say counts more.
    provider = TracerProvider(resource=Resource({SERVICE_NAME: NAME}).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush_spans() -> None:
    """Send the spans that are not sent yet, before this process ends."""
    with contextlib.suppress(ImportError):
        from opentelemetry import trace

        if (flush := getattr(trace.get_tracer_provider(), "force_flush", None)) is not None:
            flush(2000)
