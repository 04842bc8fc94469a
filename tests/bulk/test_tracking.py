"""Tracking: one run for a job, however often it was called; and nothing that MLflow does reaches the job."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from acestep_flows import mlflow_run
from acestep_flows.bulk import tracking as tracked
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger, Totals
from acestep_flows.bulk.progress import JobProgress
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.tracking import JobTracking, Lineage, readings, tracking
from tests.bulk.finished import JOB, done_row
from tests.mlflow_database import with_tables

TRACKED = """
import sys
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.tracking import tracking
from tests.bulk.finished import JOB

job_folder = JobFolder(sys.argv[1])
job_folder.prepare()
with tracking(None, job_folder, JOB) as track:
    track.artifact(sys.argv[2], b"kept")
    track.close(120.0)
"""


@pytest.fixture
def job_folder(tmp_path: Path) -> JobFolder:
    job_folder = JobFolder(str(tmp_path / "out"))
    job_folder.prepare()
    return job_folder


def progress(done: int) -> JobProgress:
    return JobProgress(20, done=done, rendering=3.0, audio_seconds=6.0, busy={"all (3)": 0.5}, phase="ended")


def three_seconds(index: int, **counts: int) -> ResultRow:
    """A row that is done; its song has a round length."""
    return dataclasses.replace(done_row(index, **counts), duration=3.0)


def metrics_of(job_folder: JobFolder) -> dict[str, float]:
    """The last numbers of the job's one run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{job_folder.url}/{tracked.DATABASE}")
    experiment = client.get_experiment_by_name(tracked.EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return dict(run.data.metrics)


@pytest.mark.filterwarnings("ignore")  # of the library's own making
def test_the_files_of_a_moved_folder_are_found_and_added_to(tmp_path: Path) -> None:
    """Nothing is written to where the folder was."""
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    place = tmp_path / "out"
    for name in ("first.txt", "second.txt"):  # each by a process of its own, as commands are: MLflow remembers places
        command = [sys.executable, "-W", "ignore", "-c", TRACKED, str(place), name]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
        if name == "first.txt":
            place = place.rename(tmp_path / "moved here")
    assert not (tmp_path / "out").exists()
    client = MlflowClient(f"sqlite:///{place}/{tracked.DATABASE}")
    experiment = client.get_experiment_by_name(tracked.EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"first.txt", "second.txt"}


@pytest.mark.filterwarnings("ignore")  # of the library's own making
def test_the_figures_are_those_of_the_job_however_often_it_is_called(tmp_path: Path) -> None:
    """Two rows, then two more from the moved folder, then a call with nothing to do."""
    pytest.importorskip("mlflow")
    place = tmp_path / "out"
    for call in range(3):
        job_folder = JobFolder(str(place))
        job_folder.prepare()
        if call == 0:
            with_tables(place / tracked.DATABASE)
        totals = Ledger(job_folder).totals(Shard())
        new = [three_seconds(index) for index in range(2 * call, 2 * call + 2)] if call < 2 else []
        with tracking(None, job_folder, JOB, totals=totals) as track:
            assert track is not None
            ended = JobProgress(4, min(4, 2 * call + 2), resumed=2 * call, attempts=len(new), phase="ended")
            rendering = 4.0 if new else 0.0
            track.watch(dataclasses.replace(ended, audio_seconds=3.0 * len(new), elapsed=10.0, rendering=rendering))
            track.close(120.0)
        ledger = Ledger(job_folder)
        for row in new:
            ledger.add(row, settled=True)
        ledger.commit()
        if call == 0:
            place = place.rename(tmp_path / "moved")
    found = metrics_of(JobFolder(str(place)))
    assert {name: found[name] for name in ("rows_done", "attempts", "retaken")} == {
        "rows_done": 4,
        "attempts": 4,
        "retaken": 0,
    }
    assert (found["audio_seconds"], found["elapsed_seconds"], found["rendering_seconds"]) == (12, 30, 8)
    assert found["rows_per_hour"] == pytest.approx(4 * 3600 / 8)
    assert found["audio_seconds_per_second"] == pytest.approx(12 / 8)


def test_totals_are_those_of_a_part_and_count_attempts_once(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    for row, settled in (
        (three_seconds(0, attempt=2, retake=1), True),
        (dataclasses.replace(done_row(0), status="rejected"), False),
        (dataclasses.replace(done_row(1), status="failed"), True),
        (dataclasses.replace(done_row(2), status="duplicate"), True),
        (three_seconds(3), True),
    ):
        ledger.add(row, settled=settled)
    ledger.commit()
    assert Ledger(job_folder).totals(Shard()) == Totals(settled=3, attempts=4, retaken=1, audio_seconds=6.0)
    assert Ledger(job_folder).totals(Shard(2, 2)) == Totals(settled=2, attempts=2, audio_seconds=3.0)


def test_a_server_that_is_gone_costs_a_job_no_minute(job_folder: JobFolder, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    with tracking(f"http://127.0.0.1:{port}", job_folder, JOB) as track:
        assert track is not None
        track.watch(progress(1))
    assert time.monotonic() - began < mlflow_run.PATIENCE
    (record,) = [record for record in caplog.records if record.name == mlflow_run.__name__]
    assert record.getMessage().startswith(f"tracking at http://127.0.0.1:{port} has ended: ")


@pytest.mark.filterwarnings("ignore")  # of the library's own making
def test_two_calls_of_a_job_are_one_run(job_folder: JobFolder) -> None:
    pytest.importorskip("mlflow")
    for call, status in enumerate(("KILLED", "FINISHED")):
        with tracking(None, job_folder, JOB, more={"pool": "bulk", "torch": f"2.{call}"}) as track:
            assert track is not None
            track.watch(progress(10 * call + 5))
            track.lineage(Lineage("dataset", "out/dataset", "f" * 64, "results"))
            track.artifact("samples/row.flac", b"fLaC")
            track.end(status)
            track.close(120.0)

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{job_folder.url}/{tracked.DATABASE}")
    experiment = client.get_experiment_by_name(tracked.EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["graph_digest"] == JOB.digest
    assert run.data.params["weights.transformer"] == "a" * 64
    assert run.data.params["gates"] == "silence_share<0.5"
    assert (run.data.params["torch"], run.data.tags["now.torch"]) == ("2.0", "2.1")
    history = client.get_metric_history(run.info.run_id, "rows_done")
    assert [(metric.step, metric.value) for metric in history] == [(5, 5.0), (15, 15.0)]
    assert run.data.metrics["busy.all _3_"] == 0.5
    assert run.inputs is not None
    assert {one.dataset.name for one in run.inputs.dataset_inputs} == {"songs.jsonl", "dataset"}
    assert [file.path for file in client.list_artifacts(run.info.run_id, "samples")] == ["samples/row.flac"]
    assert (Path(job_folder.url) / tracked.ARTIFACTS).is_dir()


def test_a_store_that_fails_is_one_warning(job_folder: JobFolder, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow")
    with tracking("nothing://here", job_folder, JOB) as track:
        assert track is not None
        track.close(60.0)
        track.watch(progress(1))
        track.end("FINISHED")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "tracking at nothing://here has ended" in record.getMessage()


def test_without_mlflow(
    job_folder: JobFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with tracking(None, job_folder, JOB) as track:
        assert track is not None
        track.watch(progress(1))
    assert "mlflow is not installed" in caplog.text


def test_a_store_that_hangs_costs_a_moment(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_run, "WAITING", 5)
    over = threading.Event()
    monkeypatch.setattr(JobTracking, "_open", lambda self: over.wait(60))
    track = JobTracking("sqlite:///never.db", "test", "job")
    began = time.monotonic()
    for row in range(100):
        track.metrics({"rows_done": row}, row)
    assert track.dropped == 95
    assert time.monotonic() - began < 1
    track.close(0.3)
    assert time.monotonic() - began < 2
    assert "not everything was written" in caplog.text
    over.set()
    track._thread.join()


def test_where_there_is_none(job_folder: JobFolder) -> None:
    with tracking("off", job_folder, JOB) as track:
        assert track is None
    with tracking(None, JobFolder("mock://bucket/out"), JOB) as track:
        assert track is None


def test_shards_have_runs_of_their_own(job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    names = []
    for shard in (None, Shard(1, 2), Shard(2, 2)):
        with tracking(None, job_folder, JOB, shard) as track:
            assert track is not None
            names.append(track._name)
    assert names == ["text2music dddddddd", "text2music 1/2", "text2music 2/2"]


def test_readings_are_numbers_with_names_that_mlflow_takes() -> None:
    found = readings(progress(4))
    assert found["rows_per_hour"] == pytest.approx(4800)
    assert found["audio_seconds_per_second"] == pytest.approx(2)
    assert "busy.all _3_" in found
    assert all(isinstance(value, float) for value in found.values())


@pytest.mark.filterwarnings("ignore")  # of the library's own making
@pytest.mark.parametrize("name", ["what? #1", "50%20 off", "a&b=c?d=e", "夜 'x'"])
def test_the_database_lies_in_the_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    pytest.importorskip("mlflow")
    job_folder = JobFolder(str(tmp_path / name))
    job_folder.prepare()
    if name != "what? #1":  # that one is made by the first call
        with_tables(tmp_path / name / tracked.DATABASE)
    for done in (1, 2):
        with tracking(None, job_folder, JOB) as track:
            assert track is not None
            track.watch(progress(done))
            track.artifact("a.txt", b"a")
            track.close(120.0)
    assert (tmp_path / name / tracked.DATABASE).is_file()
    assert list((tmp_path / name / tracked.ARTIFACTS).rglob("a.txt"))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / name / tracked.DATABASE).read_bytes())
    assert runs_in(f"sqlite:///{copy}") == {tracked.EXPERIMENT: 1}


def runs_in(uri: str) -> dict[str, int]:
    """Active runs by active experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_experiments(filter_string="name LIKE 'acestep%'")
    return {one.name: len(client.search_runs([one.experiment_id])) for one in found}


@pytest.mark.filterwarnings("ignore")  # of the library's own making
def test_a_deleted_experiment_costs_nothing_and_the_next_job_is_tracked(
    job_folder: JobFolder, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    uri = f"sqlite:///{with_tables(Path(job_folder.url) / tracked.DATABASE)}"
    for call in range(3):
        with tracking(None, job_folder, JOB) as track:
            assert track is not None
            track.watch(progress(call + 1))
            track.close(120.0)
        if call == 0:
            client = MlflowClient(uri)
            experiment = client.get_experiment_by_name(tracked.EXPERIMENT)
            assert experiment is not None
            client.delete_experiment(experiment.experiment_id)
    assert runs_in(uri) == {f"{tracked.EXPERIMENT} (2)": 1}
    assert not [record for record in caplog.records if record.name == mlflow_run.__name__]


class Store:
    """A client that is down for some notes."""

    def __init__(self, down: set[int]) -> None:
        self.down, self.seen, self.ended = down, 0, ""

    def set_terminated(self, run: str, status: str) -> None:
        self.ended = status


def tracked_notes(monkeypatch: pytest.MonkeyPatch, count: int, down: set[int]) -> Store:
    store = Store(down)
    monkeypatch.setattr(JobTracking, "_open", lambda self: (store, "run"))
    track = JobTracking("sqlite:///never.db", "test", "job")

    def note(client: object, run: str) -> None:
        store.seen += 1
        if store.seen in store.down:
            raise ConnectionError("down")

    for _ in range(count):
        track.put(note)
    track.end("FINISHED")
    track.close(30.0)
    return store


def test_a_store_that_comes_back_is_written_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tracked_notes(monkeypatch, 20, {3, 4, 5, 9})
    assert (store.seen, store.ended) == (20, "FINISHED")
    (record,) = [record for record in caplog.records if record.name == mlflow_run.__name__]
    assert record.getMessage() == "tracking at sqlite:///never.db: not everything is written: down"


def test_a_store_that_does_not_come_back_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tracked_notes(monkeypatch, 50, set(range(5, 51)))
    assert (store.seen, store.ended) == (4 + mlflow_run.FAILURES, "")
    assert [record.getMessage().rpartition(":")[0] for record in caplog.records] == [
        "tracking at sqlite:///never.db: not everything is written",
        "tracking at sqlite:///never.db has ended",
    ]
