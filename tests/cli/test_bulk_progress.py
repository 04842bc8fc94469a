"""What the terminal shows while a job runs."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

from acestep_flows.bulk.progress import JobProgress
from acestep_flows.cli import bulk_progress
from acestep_flows.cli.bulk_progress import progress_line, show_job, span

UNDER_WAY = JobProgress(
    20, done=12, resumed=8, failed=1, retaken=2, audio_seconds=25.0, elapsed=60.0, rendering=50.0,
    busy={"sample": 0.93, "vocode": 0.2}, phase="rendering",
)  # fmt: skip


def test_one_line_tells_all() -> None:
    assert progress_line(UNDER_WAY) == (
        "12 of 20 rows done (8 before), 1 given up, 7 left, 2 made again; "
        "360 rows an hour, 0.5 s of music a second; about 0:01:10 to go"
    )
    young = replace(UNDER_WAY, done=9)
    assert progress_line(young).endswith("0.5 s of music a second"), "two rows do not tell how long the others take"
    assert progress_line(JobProgress(20)) == "20 rows; starting"
    assert progress_line(JobProgress(2, done=2, resumed=2, phase="ended")) == "2 of 2 rows done (2 before)"
    assert progress_line(JobProgress(1, phase="reading")) == "1 row; reading which are left"
    assert progress_line(JobProgress(1, done=1, phase="ended")) == "1 of 1 row done"
    refused = JobProgress(3, failed=1, refused=1, rendering=2.0, phase="rendering")
    assert progress_line(refused) == "0 of 3 rows done, 1 given up, 2 left", "no speed is known"
    resumed = JobProgress(20, done=8, resumed=8, failed=1, failed_before=1, phase="starting")
    assert progress_line(resumed) == "the job goes on: 8 of 20 rows done (8 before), 1 given up, 11 left; starting"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.7, "0:01:00"), (3661, "1:01:01"), (200_000, "2 d 7:33:20")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_plain_lines_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with show_job() as watch:
        for done in range(10):
            watch(JobProgress(10, done=done, rendering=1.0, phase="rendering"))
        watch(JobProgress(10, done=10, rendering=1.0, phase="ended"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" rows")[0] for line in lines] == ["0 of 10", "10 of 10"]

    monkeypatch.setattr(bulk_progress, "PLAIN_SECONDS", 0.0)
    with show_job() as watch:
        for _ in range(3):
            watch(UNDER_WAY)
    assert len(capsys.readouterr().err.splitlines()) == 1  # nothing new is not said again


def lines_of(*progress: JobProgress, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with show_job() as watch:
        for each in progress:
            watch(each)
    return capsys.readouterr().err.splitlines()


def test_a_job_with_nothing_left_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    done = JobProgress(3, done=3, resumed=3, phase="reading")
    told = [JobProgress(3, phase="reading"), done, replace(done, phase="finishing"), replace(done, phase="ended")]
    assert lines_of(*told, capsys=capsys) == ["3 of 3 rows done (3 before)"]


def test_the_last_line_is_said_once_whatever_the_rates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_progress, "PLAIN_SECONDS", 0.0)
    told = [
        JobProgress(2, phase="starting"),
        JobProgress(2, done=2, rendering=4.0, phase="rendering"),
        JobProgress(2, done=2, rendering=5.0, phase="finishing"),
        JobProgress(2, done=2, rendering=6.0, phase="ended"),
    ]
    assert [line.partition(";")[0] for line in lines_of(*told, capsys=capsys)] == ["2 rows", "2 of 2 rows done"]


def test_a_resumed_job_says_at_once_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    begun = JobProgress(3, done=1, resumed=1, phase="reading")
    lines = lines_of(begun, replace(begun, phase="starting"), replace(begun, phase="ended"), capsys=capsys)
    assert lines == [
        "the job goes on: 1 of 3 rows done (1 before), 2 left; starting",
        "1 of 3 rows done (1 before), 2 left",
    ]


def test_a_long_start_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_progress, "STILL_SECONDS", 0.02)
    shown = ""
    with show_job() as watch:
        for phase, doing in (("starting", "starting processes"), ("rendering", "making the first rows")):
            watch(JobProgress(3, rendering=float(phase == "rendering"), phase=phase))
            while f"{doing}, 0 s so far" not in shown:
                time.sleep(0.01)
                shown += capsys.readouterr().err
        watch(JobProgress(3, done=1, rendering=1.0, phase="rendering"))
        capsys.readouterr()
        time.sleep(0.1)
        assert "so far" not in capsys.readouterr().err, "rows end, which has lines of its own"


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with show_job(quiet=True) as watch:
        watch(UNDER_WAY)
    assert capsys.readouterr().err == ""


def test_the_live_bar() -> None:
    shown = io.StringIO()
    with show_job(console=Console(file=shown, force_terminal=True, width=120, color_system=None)) as watch:
        watch(JobProgress(20))
        watch(UNDER_WAY)
    text = shown.getvalue()
    for part in (
        "13 of 20 rows",
        "360 rows an hour",
        "0.5 s of music a second",
        "about 0:01:10 to go",
        "1 given up",
        "sample",
        "93 %",
    ):
        assert part in text
    assert text.rstrip().endswith(progress_line(UNDER_WAY))


def test_markup_in_names_is_text() -> None:
    shown = io.StringIO()
    with show_job(console=Console(file=shown, force_terminal=True, width=120, color_system=None)) as watch:
        watch(JobProgress(1, busy={"[red]stage[/]": 2.0}))
    assert "[red]stage[/]" in shown.getvalue()
