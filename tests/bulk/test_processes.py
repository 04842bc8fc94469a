"""Jobs with real processes, some of which are killed: every row is there once, and is the song that `run` makes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from acestep_flows.audio import read, tags
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
