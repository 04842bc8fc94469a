"""The whole server, measured by clients: cold start, overhead, a sweep of arrival rates, a soak test.

    python -m benchmarks.serving [--checkpoint nano|small|middle|DIR] [--seconds 10] [--steps 27] [--songs 24]
                                 [--loads 0.1 0.5 1 2 4] [--pools local split] [--threads N]
                                 [--soak 960] [--out results.json]

The server is compared with one song at a time, in two ways:

- `alone`: a local runner in this process makes songs one after the other and encodes them as FLAC, as the server does.
  It has as many threads as the pool gives its process. There is no HTTP, no run table and no other process. As the
  machine's speed drifts, songs are made alone right before every load, and `times_alone` compares the load with them.
- `one_after_the_other`: on the same server, a client submits a song, waits for its end, and submits the next.

Loads are multiples of the songs per second of `alone`. Songs arrive at random (a Poisson process with a fixed seed),
whether or not earlier ones are done. A song's latency is from its acceptance to its end. Only prompts and lyrics are
cached. `core_seconds_per_song` is the CPU time of all processes, which is more reliable than wall time on a shared
machine.

The soak test compresses a day's work: 960 songs are eight hours at two songs a minute. They have one second and two
steps, and come in waves. After each wave the memory of every process is recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

from acestep_flows.audio import write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.client import AsyncClient, Client, Run
from acestep_flows.errors import Overloaded
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.model.allocator import keep_freed_memory
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from benchmarks.machine import report
from benchmarks.weights import open_weights

WORDS = {"tags": "funk, pop, 105 bpm", "lyrics": "[verse]\nNeon lights they flicker bright\n"}


class Server:
    """A running server with a pool."""

    def __init__(self, pool: Path, folder: Path, database: str | None = None, artifacts: str | None = None) -> None:
        started = time.perf_counter()
        self.home = folder
        command = [sys.executable, "-m", "acestep_flows.cli", "serve", "--home", str(folder), "--port", "0"]
        command += ["--pool", str(pool)]
        if database is not None:
            command += ["--database", database]
            artifacts = artifacts or (folder.parent / "artifacts").as_uri()
        if artifacts is not None:
            command += ["--artifacts", artifacts]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = next(line for line in self.process.stdout if line.startswith("ready at "))
        self.url = ready.split()[2].rstrip(";")
        self.cold_start = time.perf_counter() - started

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()

    def family(self) -> list[psutil.Process]:
        """All processes of the server."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def core_seconds(self) -> float:
        """CPU time of all processes of the server so far."""
        used = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system
        return used

    def memory(self) -> dict[str, float]:
        """Megabytes (proportional set size) by process name."""
        megabytes: dict[str, float] = {}
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                name = process.name() if process.pid != self.process.pid else "server"
                megabytes[name] = megabytes.get(name, 0.0) + round(process.memory_full_info().pss / 1e6, 1)
        return megabytes


@contextlib.contextmanager
def served(
    name: str,
    checkpoint: Path,
    limits: dict[str, int],
    threads: int | None = None,
    database: str | None = None,
    artifacts: str | None = None,
) -> Iterator[Server]:
    """Run a server with a pool (shipped, or a file) and this checkpoint, these limits and threads.

    Args:
        database: URL of its run table.
        artifacts: URL of its artifact store.
    """
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool.read(name).model_dump(mode="json", exclude_unset=True)
        pool |= {"checkpoint": str(checkpoint), "limits": {**pool.get("limits", {}), **limits}}
        for process in pool["processes"].values() if threads is not None else ():
            process["threads"] = threads
        path = Path(folder) / "pool.yaml"
        path.write_text(yaml.safe_dump(pool))
        server = Server(path, Path(folder) / "home", database, artifacts)
        try:
            yield server
        finally:
            server.stop()


class Alone:
    """Makes songs one after the other in this process. Opening it makes two, which load the weights."""

    def __init__(self, checkpoint: Path, song: dict[str, Any], threads: int) -> None:
        keep_freed_memory()
        self._song, self._seeds = song, itertools.count()
        self._scope = checked(Library().load("text2music"), stages(), Library().nested)
        self._runner = LocalRunner(Checkpoint.open(checkpoint), Placement(), threads=threads)
        self.songs(2)

    def close(self) -> None:
        self._runner.close()

    def songs(self, count: int) -> SongCost:
        """Make `count` songs."""
        seconds, used = [], time.process_time()
        for _ in range(count):
            started = time.perf_counter()
            asyncio.run(self._make(next(self._seeds)))
            seconds.append(time.perf_counter() - started)
        return SongCost(statistics.median(seconds), (time.process_time() - used) / count)

    async def _make(self, seed: int) -> None:
        scheduler = self._scheduler
        result = await run_plan(scheduler, lay_out(self._scope, {**self._song, "seed": seed}))
        values = await self._runner.fetch(dict(result.outputs))
        await asyncio.to_thread(write.encode, values["audio"], FORMATS["flac"], subtype=None, tags=None)

    @cached_property
    def _scheduler(self) -> Scheduler:
        return Scheduler(stages(), self._runner)


@dataclass(frozen=True)
class SongCost:
    """The cost of a song: wall seconds (median) and CPU seconds (mean)."""

    seconds: float
    core_seconds: float


def one_after_the_other(server: Server, song: dict[str, Any], count: int) -> dict[str, Any]:
    """Songs that have the server to themselves, timed from submission until the client knows of the end."""
    seconds, worked = [], []
    with Client(server.url) as client:
        client.wait(client.submit("text2music", {**song, "seed": 9_999}).id)
        used = server.core_seconds()
        for seed in range(count):
            started = time.perf_counter()
            run = client.wait(client.submit("text2music", {**song, "seed": 10_000 + seed}).id)
            seconds.append(time.perf_counter() - started)
            worked.append(sum(node.seconds or 0.0 for node in run.nodes if node.state == "finished"))
    return {
        "seconds": round(statistics.median(seconds), 3),
        "of_which_stages": round(statistics.median(worked), 3),
        "core_seconds_per_song": round((server.core_seconds() - used) / count, 3),
    }


async def arrivals(server: Server, song: dict[str, Any], rate: float, count: int, base: int) -> dict[str, Any]:
    """Submit `count` songs at random times, `rate` per second on average."""
    generator = random.Random(base)
    accepted: list[str] = []
    rejected = 0
    used = server.core_seconds()
    async with AsyncClient(server.url) as client:
        started = time.time()
        due = started
        for i in range(count):
            due += generator.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.time()))
            try:
                accepted.append((await client.submit("text2music", {**song, "seed": base + i})).id)
            except Overloaded:
                rejected += 1
        watcher = asyncio.create_task(occupancy(client))
        ended = [await client.wait(run) for run in accepted]
        watcher.cancel()
        engine = await watcher
    latencies = sorted(map(latency, ended))
    last = max(_time(run, "finished_at") for run in ended)
    return {
        "arrivals_per_second": round(rate, 3),
        "songs_per_second": round(len(ended) / (last - started), 3),
        "core_seconds_per_song": round((server.core_seconds() - used) / max(1, len(ended)), 3),
        "p50": round(statistics.median(latencies), 2),
        "p99": round(latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))], 2),
        "rejected": rejected,
        "failed": sum(run.state != "succeeded" for run in ended),
        "engine": engine,
    }


async def occupancy(client: AsyncClient) -> dict[str, float]:
    """Means of the engine's statistics, sampled every second until cancelled."""
    samples: list[dict[str, float]] = []
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(1)
            engines = [
                replica["engine"] for process in (await client.stats())["serving"].values() for replica in process
            ]
            samples += [engine for engine in engines if engine]
    return {
        name: round(statistics.fmean(engine[name] for engine in samples), 3) if samples else 0.0
        for name in ("songs_per_turn", "occupancy", "busy", "steps_per_second")
    }


def latency(run: Run) -> float:
    """Seconds from the acceptance of a run to its end."""
    return _time(run, "finished_at") - _time(run, "created_at")


def _time(run: Run, name: str) -> float:
    return datetime.fromisoformat(run.content[name]).timestamp()


WAVE = 60
"""Songs of one wave of a soak."""


async def soak(server: Server, song: dict[str, Any], songs: int) -> dict[str, Any]:
    """Make many short songs in waves. Returns the memory of all processes after each, and its growth in the last half.

    The first half fills the caches.
    """
    short = {**song, "duration": 1.0, "steps": 2}
    started, failed = time.monotonic(), 0
    memory: list[dict[str, float]] = []
    async with AsyncClient(server.url) as client:
        for first in range(0, songs, WAVE):
            seeds = range(1_000_000 + first, 1_000_000 + min(first + WAVE, songs))
            runs = [(await client.submit("text2music", {**short, "seed": seed})).id for seed in seeds]
            failed += sum([(await client.wait(run)).state != "succeeded" for run in runs])
            memory.append(server.memory())
    totals = [round(sum(processes.values())) for processes in memory]
    middle = totals[len(totals) // 2]
    return {
        "songs": songs,
        "seconds": round(time.monotonic() - started, 1),
        "failed": failed,
        "mb_after_each_wave": totals,
        "growth_in_last_half": round(totals[-1] / middle - 1, 3),
        "mb_at_the_end": memory[-1],
    }


def compared(alone: Alone, server: Server, song: dict[str, Any], count: int) -> dict[str, Any]:
    """Compare the idle server with the local runner, which makes songs before and after it."""
    before = alone.songs(count)
    served_alone = one_after_the_other(server, song, count)
    after = alone.songs(count)
    seconds = (before.seconds + after.seconds) / 2
    return {
        "alone": {"seconds": round(seconds, 3), "core_seconds_per_song": round(before.core_seconds, 3)},
        "one_after_the_other": served_alone
        | {
            "times_alone": round(seconds / served_alone["seconds"], 2),
            "overhead_percent": round(100 * (served_alone["seconds"] / seconds - 1), 1),
        },
    }


def loaded(
    alone: Alone, server: Server, song: dict[str, Any], load: float, arguments: argparse.Namespace, base: int
) -> dict[str, Any]:
    """Measure one load, and the songs made alone that it is compared with."""
    before = alone.songs(arguments.few)
    capacity = 1 / before.seconds
    measured = asyncio.run(arrivals(server, song, load * capacity, max(4, int(arguments.songs * min(load, 1))), base))
    results = {"load": load, "alone_songs_per_second": round(capacity, 3)}
    return results | {"times_alone": round(measured["songs_per_second"] / capacity, 2)} | measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="nano, small, middle, or a folder")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--steps", type=int, default=27)
    parser.add_argument("--songs", type=int, default=24, help="songs for each load")
    parser.add_argument("--loads", type=float, nargs="*", default=[0.1, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--pools", nargs="+", default=["local", "split"], help="shipped, or files; the first is swept")
    parser.add_argument("--few", type=int, default=5, help="songs of a comparison with one after the other")
    parser.add_argument("--threads", type=int, help="of torch operations, in all ways; by default the pool's")
    parser.add_argument("--queued", type=int, default=200)
    parser.add_argument("--soak", type=int, default=0, metavar="SONGS")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    song = {**WORDS, "duration": arguments.seconds, "steps": arguments.steps}
    results: dict[str, Any] = {"song": song, "checkpoint": arguments.checkpoint}
    with open_weights(arguments.checkpoint) as folder:
        threads = arguments.threads or Pool.read(arguments.pools[0]).process(stages()["sample"]).torch_threads
        alone = Alone(folder, song, threads)
        for position, pool in enumerate(arguments.pools):
            with served(pool, folder, {"queued": arguments.queued}, arguments.threads) as server:
                pool_results: dict[str, Any] = {"cold_start": round(server.cold_start, 1)}
                pool_results |= compared(alone, server, song, arguments.few)
                if position == 0:
                    loads = enumerate(arguments.loads)
                    pool_results["loads"] = [
                        loaded(alone, server, song, load, arguments, 1000 * number) for number, load in loads
                    ]
                    if arguments.soak:
                        pool_results["soak"] = asyncio.run(soak(server, song, arguments.soak))
                pool_results["memory_mb"] = server.memory()
                results[pool] = pool_results
        alone.close()
    report(results, arguments.out)


if __name__ == "__main__":
    main()
