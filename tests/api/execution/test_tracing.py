"""Traces: a span for a run and one for each node, and none without a tracer provider."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from acestep_flows.api.execution import tracing
from acestep_flows.api.execution.executor import Executor
from tests.api.toys import FAIL, accept, all_ended, opened, scheduler_over

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def test_a_run_is_a_span_with_its_nodes_below_it(tmp_path: Path) -> None:
    exporter = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))

    async def work() -> None:
        with scheduler_over(home) as scheduler:
            executor = Executor(home, scheduler, poll=0.02, tracer=provider)
            task = asyncio.create_task(executor.run())
            await all_ended(home)
            await executor.drain()
            await task

    with opened(tmp_path) as home:
        good, bad = accept(home), accept(home, FAIL)
        asyncio.run(work())
    spans = {
        (span.attributes or {}).get("acestep_flows.run", span.name): span for span in exporter.get_finished_spans()
    }
    whole = spans[good.id]
    assert whole.name == "run song"
    for name in ("first", "second", "third", "audio"):
        assert spans[name].parent.span_id == whole.context.span_id
        assert whole.start_time <= spans[name].start_time <= spans[name].end_time <= whole.end_time
    assert spans["second"].attributes["acestep_flows.stage"] == "work"
    assert spans["second"].status.is_unset
    assert spans[bad.id].attributes["acestep_flows.error"] == "stage_failed"
    assert not spans["bad"].status.is_ok
    assert spans[bad.id].context.trace_id != whole.context.trace_id


def test_there_is_no_tracer_provider_by_default() -> None:
    assert not tracing.has_provider()
