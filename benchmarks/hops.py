"""The cost of calling a stage: in process, through Ray Serve in one process, and in a process of its own.

    python -m benchmarks.hops [--checkpoint nano|small|middle|DIR] [--seconds 10] [--steps 2] [--songs 20] [--out FILE]

A runner's reply says how long the stage worked. The rest of a call's time is overhead: queues, messages, and copies of
values into shared memory. Short songs of few steps are made one after the other, without a cache. Each figure is the
median over the calls of one stage, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.runner import CallProgress, Reply, Runner
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.layout import plan
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.local_ray import deploy, local_ray
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from benchmarks.machine import report
from benchmarks.serving import WORDS
from benchmarks.weights import open_weights

FORWARDED = ("numerics", "peak_memory", "weights", "hold", "fetch", "save", "load")


class Timed:
    """A runner that records the overhead of its calls: their time without the stages' own work."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.overheads: dict[str, list[float]] = defaultdict(list)
        for name in FORWARDED:
            setattr(self, name, getattr(runner, name))

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        started = time.perf_counter()
        reply = await self._runner.call(call, progress)
        self.overheads[call.stage.name].append(1000 * (time.perf_counter() - started - reply.seconds))
        return reply


def measure(runner: Runner, song: dict[str, Any], songs: int) -> dict[str, float]:
    """Milliseconds of overhead by stage, and their sum for a song."""
    timed, library = Timed(runner), Library(working=None)

    async def play() -> None:
        for seed in range(songs + 2):
            inputs = {**song, "seed": seed}
            scheduler = Scheduler(stages(), timed)  # type: ignore[arg-type]  # it forwards what it does not time
            await run_plan(scheduler, plan(library.load("text2music"), inputs, registry=stages(), find=library.nested))

    asyncio.run(play())
    medians = {stage: statistics.median(milliseconds[2:]) for stage, milliseconds in timed.overheads.items()}
    return {stage: round(median, 2) for stage, median in medians.items()} | {"song": round(sum(medians.values()), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hops", description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="nano, small, middle, or a folder")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    song = {**WORDS, "duration": arguments.seconds, "steps": arguments.steps}
    results: dict[str, Any] = {"song": song, "checkpoint": arguments.checkpoint}
    with open_weights(arguments.checkpoint) as folder, tempfile.TemporaryDirectory() as home:
        with LocalRunner(Checkpoint.open(folder)) as runner:
            results["in process"] = measure(runner, song, arguments.songs)
        for name in ("local", "split"):
            pool = Pool.read(name).model_copy(update={"checkpoint": str(folder)})
            with local_ray(pool.cpus):
                served = deploy({"pool": pool, "home": str(Path(home) / name)})
                results[name] = measure(served, song, arguments.songs)
                served.close()
    report({"milliseconds": results}, arguments.out)


if __name__ == "__main__":
    main()
