"""Traces: a span for a run and one for each node, made while it goes on, in the trace of who asked for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.execution import tracing
from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from tests.api.toys import FAIL, accept, all_ended, opened, scheduler_over

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def test_a_run_is_a_span_with_its_nodes_below_it(tmp_path: Path) -> None:
    provider, exporter = recorded()
    with opened(tmp_path) as home:
        good, bad = accept(home), accept(home, FAIL)
        asyncio.run(to_the_end(home, provider))
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


def recorded() -> tuple[Any, Any]:
    """A provider, and what it has recorded."""
    exporter = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return provider, exporter


async def to_the_end(home: Home, provider: Any) -> None:
    """Execute all runs of a home."""
    with scheduler_over(home) as scheduler:
        executor = Executor(home, scheduler, poll=0.02, tracer=provider)
        task = asyncio.create_task(executor.run())
        await all_ended(home)
        await executor.drain()
        await task


TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


def test_spans_come_while_a_run_goes_on_and_the_trace_goes_on_after_a_restart(tmp_path: Path) -> None:
    provider, exporter = recorded()

    def names() -> list[str]:
        return [span.name for span in exporter.get_finished_spans()]

    async def stopped_midway(home: Home) -> None:
        with scheduler_over(home) as scheduler:
            executor = Executor(home, scheduler, poll=0.02, tracer=provider)
            task = asyncio.create_task(executor.run())
            while "first" not in names():
                await asyncio.sleep(0.02)
            assert "run song" not in names(), "the node's span is there before the run has ended"
            await executor.drain()
            await task

    with opened(tmp_path) as home:
        run = accept(home, steps=40, pause=0.05)
        home.traces.keep(run.id, CALLER)
        asyncio.run(stopped_midway(home))
        (attempt,) = [span for span in exporter.get_finished_spans() if span.name == "run song"]
        assert attempt.attributes["acestep_flows.state"] == "released"
        asyncio.run(to_the_end(home, provider))
        assert home.runs.get(run.id).state is RunState.SUCCEEDED
    spans = exporter.get_finished_spans()
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    first, second = [span for span in spans if span.name == "run song"]
    assert [span.attributes["acestep_flows.attempt"] for span in (first, second)] == [1, 2]
    assert {f"{span.parent.span_id:016x}" for span in (first, second)} == {"b7ad6b7169203331"}
    assert second.attributes["acestep_flows.state"] == "succeeded"
    (started,) = [event.name for span in spans if span.name == "audio" for event in span.events]
    assert started == "started"


def test_calls_carry_the_span_of_their_node(tmp_path: Path) -> None:
    from acestep_flows.tracing.context import current_traceparent

    provider, exporter = recorded()
    carried: dict[str, str] = {}

    async def work(home: Home) -> None:
        with scheduler_over(home) as scheduler:
            call = scheduler.runner.call

            async def noted(made: Any, progress: Any) -> Any:
                carried[made.stage.name] = current_traceparent()
                return await call(made, progress)

            object.__setattr__(scheduler.runner, "call", noted)
            executor = Executor(home, scheduler, poll=0.02, tracer=provider)
            task = asyncio.create_task(executor.run())
            await all_ended(home)
            await executor.drain()
            await task

    with opened(tmp_path) as home:
        accept(home)
        asyncio.run(work(home))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert carried["make"].split("-")[2] == f"{spans['first'].context.span_id:016x}"
    assert carried["sound"].split("-")[2] == f"{spans['audio'].context.span_id:016x}"
    assert carried["sound"].split("-")[1] == f"{spans['run song'].context.trace_id:032x}"


def test_there_is_no_tracer_provider_by_default() -> None:
    assert not tracing.has_provider()
