"""Bulk jobs: speed against a plain loop, overlap of stages, memory, and the cost of a resume.

    python -m benchmarks.bulk [--rows 200] [--loop-rows 40] [--steps 60] [--more 0] [--pool split] [--out results.json]

The loop makes one row after the other with a local runner in one process, and measures and writes it as a job does. It
runs with one thread and with one per core, and the faster one counts. The job has one process per core. Start-up (Ray,
processes, weights) is reported apart from rendering. Rows are songs of 5 s on the small checkpoint, with different
seeds. On a shared machine only the ratios of one run are meaningful, so loop and job alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from acestep_flows.bulk.check import check
from acestep_flows.bulk.driver import run_job
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.pool_renderer import PoolRenderer
from acestep_flows.bulk.prepare import job_of
from acestep_flows.bulk.progress import JobProgress
from acestep_flows.bulk.results import JobOutcome
from acestep_flows.bulk.resume import begin
from acestep_flows.bulk.row_work import JobWork
from acestep_flows.bulk.rows import JobRows
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.execution.result import Options
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.model.allocator import keep_freed_memory
from acestep_flows.runtime.bulk.pipeline import local_pool
from acestep_flows.runtime.bulk.segment_actor import PlanOutcome
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from acestep_flows.testing.random_checkpoint import SMALL, write_random_checkpoint
from acestep_flows.weights.choose import Weights
from benchmarks.machine import report

WORDS = {"tags": "funk, pop, 105 bpm", "lyrics": "[verse]\nNeon lights they flicker bright\n", "duration": 5.0}


def new_job(folder: Path, root: Path, count: int, steps: int) -> tuple[JobWork, JobRows]:
    """Create a job of `count` rows in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.jsonl"
    rows = [{"id": f"r{number}", "seed": number, "steps": steps, **WORDS} for number in range(count)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    library = Library()
    job_rows = JobRows(open_manifest(str(manifest)), checked(library.load("text2music"), stages(), library.nested))
    findings = check(job_rows)
    weights = Weights("argument", root, None, folder / "cache")
    job_folder = JobFolder(str(folder / "out"))
    job_folder.prepare()
    job = job_of(job_rows, findings, weights.open())
    begin(job_folder, job, findings)
    return JobWork(job, job_folder, weights), job_rows


def loop(folder: Path, root: Path, count: int, steps: int, threads: int) -> dict[str, float]:
    """Make one row after the other in this process."""
    import torch

    torch.set_num_threads(threads)
    work, rows = new_job(folder, root, count + 1, steps)

    async def all_rows() -> float:
        started = 0.0
        with LocalRunner(work.checkpoint()) as runner:
            scheduler = Scheduler(stages(), runner)
            for number, row in enumerate(rows):
                if number == 1:  # the first one loads the weights
                    started = time.perf_counter()
                attempt, _ = work.plan_attempt(row)
                plan = work.plan(attempt)
                result = await run_plan(scheduler, plan, Options())
                outputs = await runner.fetch(dict(result.outputs))
                outcome = PlanOutcome(
                    dataclasses.replace(plan, outputs=outputs, nodes={}), tuple(result.nodes.values())
                )
                assert work.finish(attempt, outcome).status == "done"
            return time.perf_counter() - started

    seconds = asyncio.run(all_rows())
    return {"threads": threads, "rows": count, "seconds": seconds, "rows_per_second": count / seconds}


class Memory:
    """The peak memory (proportional set size) of this process and its children, sampled every two seconds."""

    def __init__(self) -> None:
        self.peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(2.0):
            total = 0
            for process in (myself := psutil.Process(), *myself.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
            self.peak = max(self.peak, total)


def job(folder: Path, root: Path, count: int, steps: int, pool: Pool) -> dict[str, Any]:
    """Make the same rows as a job."""
    work, rows = new_job(folder, root, count, steps)
    first: list[JobProgress] = []

    def watch(progress: JobProgress) -> None:
        if progress.rendering and not first:
            first.append(progress)

    with Memory() as memory:
        outcome = run_job(work, rows, PoolRenderer(work, pool), watch=watch)
    stage_seconds: dict[str, float] = {}
    for row in Ledger(work.job_folder).rows():
        for stage, seconds in row.stage_seconds.items():
            stage_seconds[stage] = stage_seconds.get(stage, 0.0) + seconds
    return summary(outcome) | {"peak_memory_mb": memory.peak / 1e6, "stage_seconds": stage_seconds}


def summary(outcome: JobOutcome) -> dict[str, Any]:
    """An outcome in numbers, with the rows per second after start-up."""
    progress = outcome.progress
    made = progress.done - progress.resumed
    return {
        "rows": progress.rows,
        "made": made,
        "start_up_seconds": progress.elapsed - progress.rendering,
        "rendering_seconds": progress.rendering,
        "rows_per_second": made / progress.rendering if progress.rendering else None,
        "busy_at_the_end": dict(progress.busy),
    }


def resumed(folder: Path, root: Path, count: int, steps: int, pool: Pool) -> dict[str, Any]:
    """Resume a job with nine tenths of its rows done: seconds to find the missing rows, and to make them."""
    work, rows = new_job(folder, root, count, steps)
    ledger = Ledger(work.job_folder)
    for row in rows:
        if row.index % 10:
            attempt, _ = work.plan_attempt(row)
            ledger.add(dataclasses.replace(work.new_result(attempt), status="done", duration=5.0), settled=True)
    ledger.close()
    started = time.perf_counter()
    standing = Ledger(work.job_folder).standing()
    missing = sum(row.id not in standing.settled for row in rows)
    seconds_to_know = time.perf_counter() - started
    return {"rows": count, "missing": missing, "seconds_to_know": seconds_to_know, **summary(
        run_job(work, rows, PoolRenderer(work, pool))
    )}  # fmt: skip


@contextlib.contextmanager
def small_checkpoint() -> Iterator[tuple[Path, Path]]:
    """A temporary folder, and a small random checkpoint in it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "weights")
        write_random_checkpoint(root, SMALL, seed=0)
        yield Path(folder), root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--loop-rows", type=int, default=40, help="rows of each plain loop")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--more", type=int, default=0, help="also a job of this many rows, to compare memory")
    parser.add_argument(
        "--resume", type=int, default=0, help="also resume a job of this many rows, nine tenths of them done"
    )
    parser.add_argument("--pool", action="append", default=[], help="also a job with this pool")
    parser.add_argument("--shared", action="store_true", help="also a job whose songs share forward passes")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    cores = os.cpu_count() or 1
    results: dict[str, Any] = {"load_before": os.getloadavg(), "steps": arguments.steps}

    def note(name: str, result: dict[str, Any]) -> None:
        results[name] = result
        print(name, json.dumps(result), flush=True)

    with small_checkpoint() as (folder, root):
        for threads in sorted({1, cores}):
            name = f"loop_{threads}_threads"
            note(name, loop(folder / name, root, arguments.loop_rows, arguments.steps, threads))
        note("job", job(folder / "job", root, arguments.rows, arguments.steps, local_pool(cores)))
        note("loop_again", loop(folder / "again", root, arguments.loop_rows, arguments.steps, 1))
        if arguments.shared:
            note(
                "job_shared",
                job(folder / "shared", root, arguments.rows, arguments.steps, local_pool(cores, exact=False)),
            )
        for name in arguments.pool:
            note(f"job_{name}", job(folder / f"pool-{name}", root, arguments.rows, arguments.steps, Pool.read(name)))
        if arguments.more:
            note("job_more", job(folder / "more", root, arguments.more, arguments.steps, local_pool(cores)))
        if arguments.resume:
            note("resume", resumed(folder / "resume", root, arguments.resume, arguments.steps, local_pool(cores)))
    best = max(part["rows_per_second"] for name, part in results.items() if name.startswith("loop_"))
    note("ratio", {"job_to_loop": results["job"]["rows_per_second"] / best})
    results["load_after"] = os.getloadavg()
    report({"bulk": results}, str(arguments.out) if arguments.out else None)


if __name__ == "__main__":
    main()
