"""Trace contexts, spans of calls, and a provider that sends them by OTLP."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from acestep_flows.errors import MissingPackage
from acestep_flows.settings import Settings, read_settings
from acestep_flows.tracing.call_span import CallSpan
from acestep_flows.tracing.context import context_of, current_traceparent, is_traceparent
from acestep_flows.tracing.provider import start_provider

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


@pytest.mark.parametrize("text", [
    "", "00", f"00-{TRACE}-b7ad6b7169203331", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01",
    f"ff-{TRACE}-b7ad6b7169203331-01", f"{CALLER}\n", CALLER.upper(), f"{CALLER}x",
])  # fmt: skip
def test_what_names_no_span_is_no_context(text: str) -> None:
    assert not is_traceparent(text)
    assert not context_of(text)


def test_a_call_is_below_the_span_of_its_caller() -> None:
    exporter = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    good, bad = (CallSpan("stage mix", CALLER, {"process": "all"}, provider) for _ in range(2))
    bad.failed("stage_failed")
    for span in (good, bad):
        span.end()
    for span in exporter.get_finished_spans():
        assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
        assert f"{span.context.trace_id:032x}" == TRACE
        assert span.attributes["acestep_flows.process"] == "all"
    first, second = exporter.get_finished_spans()
    assert first.status.is_unset
    assert second.attributes["acestep_flows.error"] == "stage_failed"
    assert not second.status.is_ok


def test_without_trace_or_provider_nothing_happens() -> None:
    for span in (CallSpan("stage mix", "", {}, sdk.TracerProvider()), CallSpan("stage mix", CALLER, {})):
        span.failed("x")
        span.end()
    assert current_traceparent() == ""


def test_the_environment_asks_for_traces() -> None:
    assert not read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}).traces
    assert read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}).traces
    assert read_settings({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}).traces


def test_a_missing_extra_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("acestep_flows.optional_packages._is_installed", lambda module: "otlp" not in module)
    with pytest.raises(MissingPackage, match=r"OTEL_EXPORTER_OTLP_ENDPOINT needs.*\[tracing\]"):
        start_provider(Settings(tmp_path, traces=True))
    start_provider(Settings(tmp_path))


SENDER = f"""
from acestep_flows.settings import read_settings
from acestep_flows.tracing.call_span import CallSpan
from acestep_flows.tracing.provider import flush_spans, has_provider, start_provider

start_provider(read_settings())
assert has_provider()
CallSpan("stage mix", "{CALLER}", {{"process": "all"}}).end()
flush_spans()
"""


@pytest.mark.parametrize("name", ["", "studio-7"])
def test_spans_arrive_at_a_collector(name: str) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra tracing is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[tuple[str, ExportTraceServiceRequest]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        import os

        env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        env |= {"OTEL_SERVICE_NAME": name} if name else {}
        done = subprocess.run([sys.executable, "-c", SENDER], env=env, capture_output=True, text=True, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    (path, request) = received[0]
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == (name or "acestep_flows")
    (span,) = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("stage mix", TRACE, "b7ad6b7169203331")
