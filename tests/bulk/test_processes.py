"""Jobs with real processes, some of which are killed: every row is there once, and is the song that `run` makes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from threadpoolctl import threadpool_limits

from acestep_flows.audio import read, tags
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.row_work import JobWork
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.records.recipe import read_recipe
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.bulk.plan_segments import legs_of
from acestep_flows.runtime.bulk.segment_actor import PlanOutcome, RowOrder
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from acestep_flows.weights.choose import Weights
from tests.bulk.driver import songs
from tests.bulk.jobs import rows_in

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PATIENCE = 200.0


def split() -> Pool:
    """Two kinds of processes, each song alone in its forward passes."""
    first = ["encode_prompt", "encode_lyrics", "init_noise", "sample"]
    rest = [name for name in stages() if name not in first]
    small = {"cpus": 0.5, "threads": 1}
    processes = {"sampler": {"stages": first, **small}, "decoder": {"stages": rest, **small}}
    return Pool.checked({"name": "split", "processes": processes, "engine": {"songs": 1}})


def alone(work: JobWork, checkpoint: Checkpoint, row: ResultRow) -> str:
    """The digest of the song as `run` makes it, in this process and with one thread."""
    import torch

    threads = torch.get_num_threads()

    async def play() -> str:
        with threadpool_limits(), LocalRunner(checkpoint, threads=1) as runner:
            given = {name: part for name, part in row.inputs.items() if name in work.scope.graph.inputs}
            from acestep_flows.graph.planning.layout import lay_out

            result = await run_plan(Scheduler(stages(), runner), lay_out(work.scope, given))
            audio = result.outputs["audio"]
            return str(getattr(audio, "digest", ""))

    try:
        return asyncio.run(play())
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Telling:
    """Work whose sampler says, for every row that it takes up, which process it is.

    What comes after it starts later, and may see the first row when the sampler has done the last and is gone.
    """

    work: JobWork
    said: Path

    def checkpoint(self) -> Checkpoint:
        return self.work.checkpoint()

    def stages(self) -> Collection[str]:
        return self.work.stages()

    def plan(self, content: Any) -> Plan:
        with self.said.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return self.work.plan(content)

    def finish(self, content: Any, end: PlanOutcome) -> Any:
        return self.work.finish(content, end)


def kill(said: Path) -> bool:
    """Kill the sampler under its fourth row; whether it was there."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if said.exists() and len(pids := said.read_text().splitlines()) >= 4:
            os.kill(int(pids[-1]), signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_sampler_costs_nothing_but_time(small_root: Path, small: Checkpoint, tmp_path: Path) -> None:
    from acestep_flows.runtime.bulk.pipeline import legs_for, pipeline

    count = 16
    weights = Weights("argument", small_root, None, tmp_path / "cache")
    work, rows = rows_in(tmp_path, songs(count), weights=weights)
    pool = split()
    tries, plans = zip(*(work.plan_attempt(row) for row in rows), strict=True)
    legs = legs_for(pool, legs_of(plans[0], pool.home_of))
    assert [leg.name for leg in legs] == ["sampler", "decoder", "finish"]
    telling = Telling(work, tmp_path / "sampler")
    with (
        ThreadPoolExecutor(1) as thread,
        pipeline([RowOrder(one.row.id, one) for one in tries], telling, pool, legs, together=2) as ended,
    ):
        killing = thread.submit(kill, telling.said)
        found: list[ResultRow] = [end.result for end in ended]
        assert killing.result()
    assert Counter(row.id for row in found) == Counter(row["id"] for row in songs(count))
    assert {row.status for row in found} == {"done"}
    for row in (found[0], found[-1]):
        assert row.audio_digest == alone(work, small, row)
        assert row.audio_path is not None
        content = work.job_folder.read(row.audio_path)
        assert content is not None
        assert len(content) == row.audio_bytes
        recipe = read_recipe(tags.read(content).recipe)
        assert recipe.weights == row.weights_digest
        assert {node.stage for node in recipe.nodes} == row.stage_seconds.keys()
        assert read.audio(content).seconds == row.duration


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
