"""The overhead of the scheduler: milliseconds per node of wide and deep graphs of trivial nodes, in process.

    python -m benchmarks.scheduler [--nodes 1000] [--repeats 5] [--out FILE]

Writes JSON with commit and versions. The stage does nothing and planning is not counted. So the time is that of
resolving references, the cache key, a call in a worker thread, events and, in the later rows, the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from acestep_flows.graph.execution.cache import Cache, Mode
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.result import Options
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import NodeOutput, Plan, PlanNode
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.values import Audio, Latents, Value


class Pass(Stage):
    """Returns its latents."""

    name, version = "pass", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents
        others: list[Latents] | None = None

    class Params(StageParams):
        tag: int = 0

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return [self.Out(item.latents) for item in batch]


SEED = Latents(np.zeros((8, 16, 1), np.float32))


def deep(nodes: int) -> Plan:
    """A chain of nodes."""
    chain = {
        f"n{i}": PlanNode(f"n{i}", "pass", {"latents": NodeOutput(f"n{i - 1}", "latents") if i else SEED, "tag": i})
        for i in range(nodes)
    }
    return Plan("deep", "", {}, chain, {"last": NodeOutput(f"n{nodes - 1}", "latents")})


def wide(nodes: int) -> Plan:
    """Independent nodes, and one node that takes all their outputs."""
    leaves = {f"n{i}": PlanNode(f"n{i}", "pass", {"latents": SEED, "tag": i}) for i in range(nodes - 1)}
    gathered = [NodeOutput(id, "latents") for id in leaves]
    last = PlanNode("last", "pass", {"latents": SEED, "others": gathered, "tag": -1})
    return Plan("wide", "", {}, {**leaves, "last": last}, {"last": NodeOutput("last", "latents")})


def seconds_of(plan: Plan, store: DiskStore | None, mode: Mode, memory: int, runs: int) -> list[tuple[float, float]]:
    """Wall and CPU seconds of `runs` successive runs of one plan with one cache."""

    async def measure() -> list[tuple[float, float]]:
        measured = []
        with LocalRunner(None) as runner:  # type: ignore[arg-type]  # no stage here has weights
            scheduler = Scheduler({"pass": Pass}, runner, Cache(runner, memory=memory, store=store))
            for _ in range(runs):
                before = time.process_time()
                result = await run_plan(scheduler, plan, Options(mode=mode))
                measured.append((result.seconds, time.process_time() - before))
        return measured

    return asyncio.run(measure())


def overhead(nodes: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds per node: best and median wall time, and median CPU time."""
    rows: dict[str, dict[str, float]] = {}
    for plan in (wide(nodes), deep(nodes)):
        with tempfile.TemporaryDirectory() as folder:
            store = DiskStore(Path(folder))
            measured = {
                "computed": seconds_of(plan, None, "off", 0, repeats + 1)[1:],
                "memory hit": seconds_of(plan, None, "use", 2**30, repeats + 1)[1:],
                "disk write": seconds_of(plan, store, "refresh", 0, 3)[1:],
                "disk hit": seconds_of(plan, store, "use", 0, repeats),
            }
        for row, runs in measured.items():
            wall, processor = ([run[i] / nodes * 1e3 for run in runs] for i in (0, 1))
            rows[f"{plan.graph}, {row}"] = {
                "best": round(min(wall), 4),
                "median": round(statistics.median(wall), 4),
                "processor": round(statistics.median(processor), 4),
            }
    return rows


def hit(megabytes: int, repeats: int) -> dict[str, float]:
    """Milliseconds to digest a value of this size, write it, read and check it, and look it up on disk."""
    value = Audio(np.random.default_rng(0).standard_normal((2, megabytes * 125_000), np.float32), 48_000)
    key = "0" * 64
    with tempfile.TemporaryDirectory() as folder:
        store = DiskStore(Path(folder))
        work = {
            "digest": lambda: without_digest(value).digest,
            "write": lambda: store.write(key, {"audio": value}, "pass"),
            "read": lambda: store.read(key),
            "peek": lambda: store.peek(key),
        }
        return {
            name: round(statistics.median(timed(action) for _ in range(repeats)) * 1e3, 3)
            for name, action in work.items()
        }


def without_digest(value: Audio) -> Value:
    """The same value without a cached digest."""
    return Audio(value.samples, value.sample_rate)


def timed(action: Any) -> float:
    """Seconds `action` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def environment() -> dict[str, Any]:
    """The machine and the versions of the measurement."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    packages = {name: version(name) for name in ("numpy", "pydantic", "safetensors")}
    load = round(os.getloadavg()[0], 2)
    return {"commit": commit, "python": platform.python_version(), **packages, "cores": os.cpu_count(), "load": load}


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report = {
        "environment": environment(),
        "nodes": arguments.nodes,
        "milliseconds per node": overhead(arguments.nodes, arguments.repeats),
        "milliseconds for a 10 MB value": hit(10, arguments.repeats),
    }
    text = json.dumps(report, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
