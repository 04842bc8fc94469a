from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acestep_flows.audio import write
from acestep_flows.bulk.estimate import BYTES_PER_SECOND, Price, missing, price, price_lines, sample, seconds_seen
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_timings import JobTimings
from acestep_flows.bulk.results import ResultRow
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Estimate, Timings
from acestep_flows.model.placement import Placement
from acestep_flows.runtime.bulk.pipeline import local_pool
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.session import Session
from acestep_flows.values import Audio
from acestep_flows.weights.choose import Weights
from tests.bulk.manifests import rows_of

STAGES = ["encode_prompt", "encode_lyrics", "init_noise", "sample", "decode_latents", "vocode"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def scheduler(cache: Path) -> Iterator[Scheduler]:
    weights = Weights("embedded", None, None, cache)
    with Session(weights, Placement(), cache_folder=cache / "results") as session:
        yield session.scheduler


def test_samples_are_spread_over_good_rows(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [{"tags": f"{i}"} if i % 10 else {"tags": 0} for i in range(100)])
    assert [row.index for row in sample(rows, 100, most=10)] == list(range(1, 100, 10))  # every tenth row is bad
    assert len(sample(rows, 100, most=1000)) == 90


def test_a_price_scales_what_stages_took(tmp_path: Path, scheduler: Scheduler) -> None:
    for stage, seconds in zip(STAGES, (1, 1, 0, 10, 3, 5), strict=True):
        numerics = scheduler.runner.numerics(scheduler.stage(stage))
        scheduler.timings.record(stage, numerics, 60 if stage == "sample" else None, float(seconds), 1)
    rows = rows_of(tmp_path, [{"tags": f"{i}", "duration": 30} for i in range(90)])
    split = Pool.read("split")
    found = price(rows, 90, scheduler, split)
    assert (found.rows, found.sampled, found.unknown) == (90, 50, ())
    assert sum(found.busy.values()) == pytest.approx(90 * 20)
    busiest = max(seconds / split.processes[name].most for name, seconds in found.busy.items())
    assert found.hours == pytest.approx(busiest / 3600)
    assert found.audio_hours == pytest.approx(90 * 30 / 3600)
    assert found.disk == 90 * 30 * BYTES_PER_SECOND["flac"]
    lines = list(price_lines(found, per_hour=6.0))
    assert lines[0] == "90 songs, estimated from a sample of 50"
    assert lines[1] == "time: about 15 min, and the start"
    assert lines[2] == "  work of process sample: 15 min, shared by all its copies"
    assert f"cost: about {found.hours * 6:.2f}, at 6 an hour" in lines
    assert not any(line.startswith("cost") for line in price_lines(found))


def test_short_songs_take_less_than_those_that_were_timed(tmp_path: Path, cache: Path) -> None:
    sizes = {"sample": 60 * 5513, "decode_latents": 60 * 88_200, "vocode": 60 * 352_800}  # of a minute
    with Session(Weights("embedded", None, None, cache), Placement(), cache_folder=tmp_path / "results") as session:
        for stage in STAGES:
            numerics = session.scheduler.runner.numerics(session.scheduler.stage(stage))
            steps = 60 if stage == "sample" else None
            session.scheduler.timings.record(stage, numerics, steps, 12.0, sizes.get(stage, 1))
        busy = {}
        for length in (60.0, 6.0, 0.5, 120.0):
            rows = rows_of(tmp_path, [{"tags": "a", "duration": length}])
            busy[length] = price(rows, 1, session.scheduler, Pool.read("local")).busy["all"]
    fixed = 3 * 12.0
    assert busy[60.0] == pytest.approx(fixed + 36.0, rel=0.01)
    assert busy[6.0] == pytest.approx(fixed + 3.6, rel=0.01)
    assert busy[0.5] == pytest.approx(fixed + 1.8, rel=0.01)  # not less than a twentieth
    assert busy[120.0] == pytest.approx(fixed + 72.0, rel=0.01)


def test_only_rows_that_are_still_to_be_made_are_counted(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [{"id": f"r{i}", "tags": "a" if i != 4 else 0} for i in range(10)])
    assert sum(map(missing(Shard()), rows)) == 9
    assert [row.id for row in filter(missing(Shard(1, 2), {"r0", "r9"}), rows)] == ["r2", "r6", "r8"]


def test_rows_of_the_job_itself_tell_best(tmp_path: Path, scheduler: Scheduler) -> None:
    done = [ResultRow(f"{s}", 0, 1, "done", stage_seconds={"sample": s, "vocode": 1.0}) for s in (2.0, 4.0)]
    seen = seconds_seen([*done, ResultRow("x", 0, 1, "duplicate")])
    assert seen == {"sample": 3.0, "vocode": 1.0}
    rows = rows_of(tmp_path, [{"tags": f"{i}"} for i in range(10)])
    found = price(rows, 10, scheduler, Pool.read("local"), seen=seen)
    assert found.busy["all"] == pytest.approx(40.0)
    assert found.unknown == ("decode_latents", "encode_lyrics", "encode_prompt", "init_noise")
    lines = list(price_lines(found, per_hour=3600.0))
    assert "time of the stages decode_latents, encode_lyrics, encode_prompt, init_noise: not known before a" in lines[1]
    assert lines[2] == "time: about 40.0 s for the rest, and the start"
    assert "cost: at least 40.00, at 3600 an hour" in lines


def test_what_is_not_known_is_said(tmp_path: Path, scheduler: Scheduler) -> None:
    found = price(rows_of(tmp_path, [{"tags": "a"}]), 1, scheduler, Pool.read("local"), "wav")
    assert found.unknown == tuple(sorted(STAGES))
    assert (found.cached, found.hours, found.known_hours) == (0, 0.0, None)
    lines = list(price_lines(found, per_hour=2.0))
    assert lines[0] == "1 song"
    assert "time: not known before a first run on this machine" in lines
    assert not [line for line in lines if line.startswith(("cost: a", "time: about"))], "what is not known costs no sum"
    assert "cost: not known, as no time is" in lines
    assert not [line for line in price_lines(found) if line.startswith("cost")]


def test_a_sum_below_a_cent_is_not_nothing() -> None:
    known = list(price_lines(Price(1, 1, busy={"all": 3.6}, hours=0.001), per_hour=2.5))
    assert "cost: less than 0.01, at 2.5 an hour" in known
    lines = list(price_lines(Price(1, 1, busy={"all": 3.6}, hours=0.001, unknown=("vocode",)), per_hour=2.5))
    assert "time of the stage vocode: not known before a first run on this machine" in lines
    assert "cost: less than 0.01 for the rest, at 2.5 an hour" in lines
    assert Price(1, 1, hours=0.001, unknown=("vocode",)).known_hours is None, "programs get no sum that leaves some out"
    assert "cost: about 0.02, at 10 an hour" in price_lines(Price(1, 1, hours=0.002), per_hour=10.0)
    assert "cost: about 0.00, at 10 an hour" in price_lines(Price(1, 1), per_hour=10.0)


def test_a_job_without_rows_to_do_costs_nothing(tmp_path: Path, scheduler: Scheduler) -> None:
    found = price(rows_of(tmp_path, [{"tags": "a"}]), 0, scheduler, Pool.read("local"))
    assert (found.hours, found.disk) == (0, 0)
    assert list(price_lines(found)) == ["0 songs: nothing is left to make"]


def test_rows_that_their_files_refuse_are_told_and_end_nothing(tmp_path: Path, scheduler: Scheduler) -> None:
    write.audio(
        tmp_path / "song.wav", Audio(np.zeros((2, 88_200), np.float32), 44_100), sample_rate=44_100, format="wav"
    )
    rows = [{"tags": "a", "source": str(tmp_path / "song.wav"), "span": {"start": 0, "end": end}} for end in (1, 9)]
    found = price(rows_of(tmp_path, rows, "repaint"), 2, scheduler, Pool.read("local"))
    assert (found.rows, found.sampled) == (2, 2)
    assert found.refused == ("line 2: span: 0 to 9 s, but source is 2.00 s long (allowed: within 0 to 2.00 s)",)
    assert [line for line in price_lines(found) if line.startswith("would fail: line 2")]


def test_another_number_of_steps_is_not_known(tmp_path: Path, scheduler: Scheduler) -> None:
    numerics = scheduler.runner.numerics(scheduler.stage("vocode"))
    scheduler.timings.record("vocode", numerics, None, 1.0, 1)
    scheduler.timings.record("sample", scheduler.runner.numerics(scheduler.stage("sample")), 60, 1.0, 1)
    found = price(rows_of(tmp_path, [{"tags": "a", "steps": 7}]), 1, scheduler, Pool.read("local"))
    (line,) = [line for line in price_lines(found) if "not known" in line]
    assert line.startswith("time of the stages ")
    assert line.endswith("sample: not known before a first run on this machine with as many steps")


def test_a_job_that_is_killed_leaves_its_times(tmp_path: Path) -> None:
    pool = Pool.read("local")
    timings = JobTimings(tmp_path, pool)
    timings.record("sample", "cpu-float32", 60, 7.0, 10)
    timings.save_between()  # with the first song, and nobody closes anything
    assert JobTimings(tmp_path, pool).estimate("sample", "cpu-float32", 60) == Estimate(7.0, 10)


def test_times_of_jobs_are_kept_by_threads_and_go_before_those_of_single_runs(tmp_path: Path) -> None:
    local, other = Pool.read("local"), local_pool(1)
    of_runs = Timings(tmp_path / "timings.json")
    of_runs.record("sample", "cpu-float32", 60, 1.0, 10)
    of_runs.record("vocode", "cpu-float32", None, 2.0, 10)
    of_runs.save()
    before = (tmp_path / "timings.json").read_bytes()
    timings = JobTimings(tmp_path, local)
    for seconds in (7.0, 9.0, 8.0):
        timings.record("sample", "cpu-float32", 60, seconds, 10)
    timings.save()
    assert (tmp_path / "timings.json").read_bytes() == before, "estimates of single runs are as before"

    again = JobTimings(tmp_path, local)
    assert again.estimate("sample", "cpu-float32", 60) == Estimate(8.0, 10)
    assert again.estimate("vocode", "cpu-float32", None) == Estimate(2.0, 10)
    assert again.estimate("sample", "cpu-float32", 7) is None
    assert local.processes["all"].torch_threads != other.processes["all"].torch_threads
    assert JobTimings(tmp_path, other).estimate("sample", "cpu-float32", 60) == Estimate(1.0, 10)
