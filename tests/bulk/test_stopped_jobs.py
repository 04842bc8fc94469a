"""Jobs in processes of their own that are stopped, or whose Ray dies: songs that are done stay, and the job goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import yaml

from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.stages.registry import stages
from tests.bulk.driver import songs

PATIENCE = 200.0


def test_an_interrupted_driver_ends_what_is_under_way(small_root: Path, tmp_path: Path) -> None:
    """Its rows are whole. How jobs go on, is in test_page.py (one that was killed) and test_resume.py."""
    count = 24
    command = [sys.executable, "-m", "tests.bulk.driver", str(tmp_path), str(small_root), str(count)]
    environment = {**os.environ, "RAY_worker_niceness": "0", "PYTHONPATH": "."}
    ledger = Ledger(JobFolder(str(tmp_path / "out")))
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        until = time.monotonic() + PATIENCE
        while not ledger.standing().settled and time.monotonic() < until:
            assert driver.poll() is None, driver.stderr.read() if driver.stderr else ""
            time.sleep(0.1)
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: to everybody
        said, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0
    found = list(ledger.rows())
    assert 0 < len(found) < count
    assert len(found) == len({row.id for row in found}) == len(ledger.standing().settled) == int(said.split()[-2])
    for row in found:
        assert row.audio_path is not None
        assert (tmp_path / "out" / row.audio_path).stat().st_size == row.audio_bytes


@dataclass
class BulkCommand:
    """`acestep-flows bulk` over some songs, in a folder of its own, with one process that renders.

    Attributes:
        audio: where the job writes its songs.
    """

    folder: Path
    arguments: list[str]

    @classmethod
    def over(cls, count: int, weights: Path, folder: Path, *options: str) -> BulkCommand:
        (folder / "songs.jsonl").write_text("".join(json.dumps(song) + "\n" for song in songs(count)))
        every = {"stages": list(stages()), "cpus": 1, "threads": 1}
        pool = {"name": "one", "processes": {"all": every}, "engine": {"songs": 1}}
        (folder / "pool.yaml").write_text(yaml.safe_dump(pool))
        module = [sys.executable, "-m", "acestep_flows.cli", "bulk", "songs.jsonl", "--graph", "text2music"]
        settings = ["--out", "job", "--pool", "pool.yaml", "--checkpoint", str(weights)]
        return cls(folder, [*module, *settings, "--tracking", "off", *options])

    @property
    def audio(self) -> Path:
        return self.folder / "job" / "audio"

    def start(self, *, own_group: bool = False) -> subprocess.Popen[str]:
        cache = self.folder / "cache"
        return subprocess.Popen(
            self.arguments,
            env={**os.environ, "PYTHONPATH": str(Path.cwd()), "ACESTEP_FLOWS_CACHE": str(cache)},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=own_group,
        )

    def wait_for_songs(self, job: subprocess.Popen[str], count: int) -> None:
        until = time.monotonic() + PATIENCE
        while len(list(self.audio.glob("*/*.flac"))) < count and time.monotonic() < until:
            assert job.poll() is None, job.stderr.read() if job.stderr else ""
            time.sleep(0.05)


def test_sigterm_ends_a_job_as_ctrl_c_does_and_costs_no_finished_song(small_root: Path, tmp_path: Path) -> None:
    """As Slurm and systemd send it, to all processes of the job. Every song whose file is written is in the tables."""
    command = BulkCommand.over(24, small_root, tmp_path)
    audio = command.audio
    with command.start(own_group=True) as job:
        command.wait_for_songs(job, 3)
        os.killpg(job.pid, signal.SIGTERM)
        out, err = job.communicate(timeout=PATIENCE)
    assert job.returncode == 143, err
    assert out == ""
    done = {row.audio_path for row in Ledger(JobFolder(str(tmp_path / "job"))).rows()}
    assert err.splitlines()[-1] == f"stopped with {24 - len(done)} rows to go; the same command goes on"
    assert done == {f"audio/{path.relative_to(audio)}" for path in audio.glob("*/*.flac")}
    with BulkCommand(tmp_path, [*command.arguments, "--out", "later", "--dry-run"]).start() as estimate:
        told, _ = estimate.communicate(timeout=PATIENCE)
    assert "time: about " in told, "what this job measured is known to the next"


def test_a_job_whose_ray_dies_ends_in_one_line_and_goes_on(small_root: Path, tmp_path: Path) -> None:
    """As after a crash of Ray's own processes, or when the machine runs out of memory and the kernel picks one."""
    command = BulkCommand.over(16, small_root, tmp_path, "--quiet")
    with command.start() as job:
        command.wait_for_songs(job, 3)
        (raylet,) = [child for child in psutil.Process(job.pid).children() if child.name() == "raylet"]
        left = psutil.Process(job.pid).children(recursive=True)
        raylet.kill()
        out, err = job.communicate(timeout=PATIENCE)
    assert (job.returncode, out) == (1, "")
    assert err.splitlines()[-1] == (
        "error: Ray's raylet has ended, so no row can be rendered; the same command goes on with the rows that are left"
    )
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive
    with command.start() as again:
        _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, err
    found = [row for row in Ledger(JobFolder(str(tmp_path / "job"))).rows() if row.status == "done"]
    assert sorted(row.id for row in found) == sorted(song["id"] for song in songs(16))


def test_every_line_of_a_job_is_an_object(small_root: Path, tmp_path: Path) -> None:
    """With --log-format json, over a job that is stopped and goes on, with a row that is given up."""
    command = BulkCommand.over(6, small_root, tmp_path, "--log-format", "json", "--on-bad-row", "skip")
    with (tmp_path / "songs.jsonl").open("a") as manifest:
        manifest.write('{"id": "bad", "tags": 1}\n')
    with command.start() as job:
        command.wait_for_songs(job, 1)
        job.send_signal(signal.SIGTERM)
        _, stopped = job.communicate(timeout=PATIENCE)
    assert job.returncode == 143, stopped
    with command.start() as job:
        out, ended = job.communicate(timeout=PATIENCE)
    assert job.returncode == 8, ended
    assert out.splitlines() == [f"{tmp_path}/job/dataset", f"{tmp_path}/job/report.html"]
    first, second = ([json.loads(line) for line in text.splitlines()] for text in (stopped, ended))
    for line in (*first, *second):
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        assert line["logger"].startswith("acestep_flows")
    levels = {line["message"]: line["level"] for line in (*first, *second)}
    assert levels["line 7: tags: 1 (allowed: text)"] == "warning"
    assert first[-1]["message"].endswith("to go; the same command goes on")
    assert first[-1]["level"] == "warning"
    progress = [line for line in second if "done" in line]
    assert (progress[0]["rows"], progress[0]["resumed"] >= 1) == (7, True)
    last = progress[-1]
    assert (last["phase"], last["done"], last["failed"], last["left"], last["level"]) == ("ended", 6, 1, 0, "info")
    assert any(message.startswith("1 row was given up; ") for message in levels)
