"""Recorded timings."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.timings import KEPT, Timings
from tests.graph.small_stages import Step, node, out, plan_of, scheduler_of


def test_the_median_of_the_latest_calls_is_the_estimate(tmp_path: Path) -> None:
    timings = Timings(tmp_path / "timings.json")
    for seconds in [100.0] * 5 + [float(i) for i in range(KEPT)]:
        timings.record("sample", "cpu-float32", 27, seconds, 1000)
    timings.record("sample", "cpu-float32", 60, 500.0, 1000)
    timings.record_peak("text2music", 2**30)
    timings.save()
    again = Timings(tmp_path / "timings.json")
    estimate = again.estimate("sample", "cpu-float32", 27)
    assert estimate is not None
    assert (estimate.seconds, estimate.nbytes) == ((KEPT - 1) / 2, 1000)
    assert again.estimate("sample", "cpu-bfloat16", 27) is None
    assert again.estimate("sample", "cpu-float32", None) is None
    assert (again.peak("text2music"), again.peak("repaint")) == (2**30, None)
    assert [path.name for path in tmp_path.iterdir()] == ["timings.json"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "calls": {"a": [1]}, "peaks": {}}', "\0"]
)
def test_a_damaged_file_starts_anew(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "timings.json"
    path.write_text(content)
    timings = Timings(path)
    assert "start anew" in caplog.text
    timings.record("a", "cpu", None, 1.0, 1)
    timings.save()
    assert Timings(path).estimate("a", "cpu", None) is not None


def test_a_file_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    path.write_text('{"schema": 2, "calls": {"a cpu": [[1.0, 1]]}, "peaks": {}}')
    assert Timings(path).estimate("a", "cpu", None) is None


def test_a_folder_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        Timings(tmp_path / "file" / "timings.json").save()
    assert "cannot be written" in caplog.text


def test_writers_of_one_process_do_not_disturb_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writers = [Timings(tmp_path / "timings.json") for _ in range(4)]
    for writer in writers:
        writer.record("sample", "cpu", None, 1.0, 1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda writer: [writer.save() for _ in range(20)], writers))
    assert caplog.text == ""
    assert [path.name for path in tmp_path.iterdir()] == ["timings.json"]
    assert Timings(tmp_path / "timings.json").estimate("sample", "cpu", None) is not None


def test_a_run_records_each_step_count_apart() -> None:
    plan = plan_of({"a": node("make"), "b": node("step", latents=out("a"), steps=9)})
    with scheduler_of() as scheduler:
        asyncio.run(run_plan(scheduler, plan))
        numerics, timings = scheduler.runner.numerics(Step), scheduler.timings
    assert timings.estimate("step", numerics, 9) is not None
    assert timings.estimate("step", numerics, 8) is None
    assert timings.estimate("make", numerics, None) is not None
