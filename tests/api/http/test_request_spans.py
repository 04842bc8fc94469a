"""A caller's trace goes from the request over the run to its nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, opened

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_run_continues_the_callers_trace(strict: Checkpoint, tmp_path: Path) -> None:
    exporter = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    with opened(tmp_path, strict, tracer=provider) as door:
        body = {"graph": "text2music", "inputs": {**SHORT, "tags": "secret tags"}}
        header = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        run = door.client.post("/v1/runs", json=body, headers=header).json()
        door.until(run["id"])
        door.client.post("/v1/runs", json={"graph": "nowhere", "inputs": {}}, headers={"traceparent": "nonsense"})
        door.client.get("/readyz", headers=header)
    spans = exporter.get_finished_spans()
    mine = {span.name: span for span in spans if f"{span.context.trace_id:032x}" == TRACE}
    request, whole = mine["POST /v1/runs"], mine["run text2music"]
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert request.attributes["http.response.status_code"] == 202
    assert whole.parent.span_id == request.context.span_id
    assert whole.attributes["acestep_flows.run"] == run["id"]
    nodes = [span for span in mine.values() if span.parent.span_id == whole.context.span_id]
    assert {"acestep_flows.stage"} <= set.intersection(*(set(span.attributes) for span in nodes))
    assert len(nodes) >= 4
    (other,) = [span for span in spans if span.attributes.get("http.response.status_code") == 404]
    assert other.parent is None, "what is no context begins a new trace"
    assert not [span for span in spans if span.name.endswith("/readyz")]
    assert "secret" not in str([(span.name, dict(span.attributes)) for span in spans])
