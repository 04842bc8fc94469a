"""Recorded timings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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
        timings = Timings(tmp_path / "file" / "timings.json")
        timings.record("sample", "cpu", None, 1.0, 1)
        timings.save()
    assert "cannot be written" in caplog.text


def test_a_file_is_written_only_when_there_is_something_new(tmp_path: Path) -> None:
    """Runs whose nodes all come from the cache are many and short."""
    path = tmp_path / "timings.json"
    timings = Timings(path)
    timings.save()
    assert not path.exists()
    changes: tuple[Callable[[], None], ...] = (
        lambda: timings.record("sample", "cpu", None, 1.0, 1),
        lambda: timings.record_peak("text2music", 2**30),
    )
    for change in changes:
        change()
        timings.save()
        assert path.exists()
        path.unlink()
        timings.save()
        assert not path.exists()


def test_writers_of_one_process_do_not_disturb_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def work(writer: Timings) -> None:
        for _ in range(20):
            writer.record("sample", "cpu", None, 1.0, 1)
            writer.save()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [Timings(tmp_path / "timings.json") for _ in range(4)]))
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


def test_estimates_are_for_the_length_of_the_song(tmp_path: Path) -> None:
    timings = Timings(tmp_path / "timings.json")
    timings.record("sample", "cpu", 10, 2.0, 1000, 10.0)
    timings.record("sample", "cpu", 10, 5.0, 2000, 20.0)
    timings.record("sample", "cpu", 10, 99.0, 99)  # nobody noted its length
    timings.save()
    again = Timings(tmp_path / "timings.json")
    for length, seconds, nbytes in ((20.0, 4.5, 2000), (60.0, 13.5, 6000), (0.01, 0.175, 1)):
        estimate = again.estimate("sample", "cpu", 10, length)
        assert estimate is not None
        assert estimate.seconds == pytest.approx(seconds)
        assert estimate.nbytes == nbytes
    without = again.estimate("sample", "cpu", 10)
    assert without is not None
    assert without.seconds == 5.0, "without a length, calls count as they were"


def test_calls_of_before_count_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    path.write_text('{"schema": 1, "calls": {"sample cpu": [[3.0, 7]]}, "peaks": {}}')
    estimate = Timings(path).estimate("sample", "cpu", None, 100.0)
    assert estimate is not None
    assert (estimate.seconds, estimate.nbytes) == (3.0, 7)


def test_a_run_records_the_length_of_its_music() -> None:
    with scheduler_of() as scheduler:
        asyncio.run(run_plan(scheduler, plan_of({"a": node("make", frames=100), "b": node("mix", parts=[out("a")])})))
        numerics, timings = scheduler.runner.numerics(Step), scheduler.timings
    for stage in ("make", "mix"):
        asked, twice = (timings.estimate(stage, numerics, None, length) for length in (9.2880, 18.576))
        assert asked is not None
        assert twice is not None
        assert twice.seconds == pytest.approx(2 * asked.seconds, rel=0.01)


def test_a_server_writes_now_and_then_and_at_its_end(tmp_path: Path) -> None:
    """Each write waits for the disk, while other runs wait for it."""
    file = tmp_path / "timings.json"
    timings = Timings(file, every=1000.0)
    timings.record("sample", "cpu-float32", 9, 1.0, 10)
    timings.save_between()
    first = file.read_bytes()
    timings.record("sample", "cpu-float32", 9, 3.0, 10)
    timings.save_between()
    assert file.read_bytes() == first
    timings.save()
    assert file.read_bytes() != first
