"""The whole server, from outside: cold start, overhead, a sweep of arrival rates, a soak.

    python -m benchmarks.serving [--checkpoint nano|small|middle|DIR] [--seconds 10] [--steps 27] [--songs 24]
                                 [--loads 0.1 0.5 1 2 4] [--pools local split] [--threads N]
                                 [--soak 960] [--out results.json]

What the server is compared with is one song after the other, in two ways:

- `alone`: a local runner in this process, with as many threads as the pool gives its process, makes a song and encodes
  it as FLAC, as the server does, then the next. There is no HTTP, no run table and no other process. Because machines
  drift, songs are made alone right before every load, and `times_alone` compares that load with those songs.
- `one_after_the_other`: the same server; a client submits a song, waits until it is over, and submits the next.

Loads are multiples of what `alone` makes per second. Songs arrive at random (a Poisson process with a fixed seed)
whether or not earlier ones are done; a song's latency is from its acceptance to its end. In all ways only the words
are cached. `core_seconds_per_song` is processor time, of all processes together: where others use the machine, it
says more than the clock.

The soak compresses a day's work: 960 songs are what comes in eight hours at two a minute. They are of one second and
two steps, submitted in waves as fast as they end, and after each wave the memory of every process is taken.
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
from benchmarks.weights import at_hand

WORDS = {"tags": "funk, pop, 105 bpm", "lyrics": "[verse]\nNeon lights they flicker bright\n"}


class Server:
    """A server with a pool, started."""

    def __init__(self, pool: Path, folder: Path) -> None:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "acestep_flows.cli", "serve", "--home", str(folder), "--port", "0"]
        self.process = subprocess.Popen([*command, "--pool", str(pool)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = next(line for line in self.process.stdout if line.startswith("ready at "))
        self.url = ready.split()[2].rstrip(";")
        self.cold_start = time.perf_counter() - begun

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()

    def family(self) -> list[psutil.Process]:
        """All its processes."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def core_seconds(self) -> float:
        """Processor time of all its processes so far."""
        used = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system
        return used

    def memory(self) -> dict[str, float]:
        """Megabytes of each process, what it shares with others counted in part."""
        found: dict[str, float] = {}
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                name = process.name() if process.pid != self.process.pid else "server"
                found[name] = found.get(name, 0.0) + round(process.memory_full_info().pss / 1e6, 1)
        return found


@contextlib.contextmanager
def served(name: str, checkpoint: Path, limits: dict[str, int], threads: int | None = None) -> Iterator[Server]:
    """A server with a pool (shipped, or a file), over a checkpoint, limits and threads of our own."""
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool.read(name).model_dump(mode="json", exclude_unset=True)
        pool |= {"checkpoint": str(checkpoint), "limits": {**pool.get("limits", {}), **limits}}
        for process in pool["processes"].values() if threads is not None else ():
            process["threads"] = threads
        path = Path(folder) / "pool.yaml"
        path.write_text(yaml.safe_dump(pool))
        server = Server(path, Path(folder) / "home")
        try:
            yield server
        finally:
            server.stop()


class Alone:
    """Makes songs one after the other in this process. The first one loads the weights."""

    def __init__(self, checkpoint: Path, song: dict[str, Any], threads: int) -> None:
        keep_freed_memory()
        self._song, self._seeds = song, itertools.count()
        self._scope = checked(Library().load("text2music"), stages(), Library().nested)
        self._runner = LocalRunner(Checkpoint.open(checkpoint), Placement(), threads=threads)
        self.songs(2)

    def close(self) -> None:
        self._runner.close()

    def songs(self, count: int) -> Taken:
        """Make so many."""
        seconds, used = [], time.process_time()
        for _ in range(count):
            begun = time.perf_counter()
            asyncio.run(self._make(next(self._seeds)))
            seconds.append(time.perf_counter() - begun)
        return Taken(statistics.median(seconds), (time.process_time() - used) / count)

    async def _make(self, seed: int) -> None:
        scheduler = self._scheduler
        result = await run_plan(scheduler, lay_out(self._scope, {**self._song, "seed": seed}))
        values = await self._runner.fetch(dict(result.outputs))
        await asyncio.to_thread(write.encode, values["audio"], FORMATS["flac"], subtype=None, tags=None)

    @cached_property
    def _scheduler(self) -> Scheduler:
        return Scheduler(stages(), self._runner)


@dataclass(frozen=True)
class Taken:
    """What a song took: seconds by the clock (median), and of processor time (mean)."""

    seconds: float
    core_seconds: float


def one_after_the_other(server: Server, song: dict[str, Any], count: int) -> dict[str, Any]:
    """Songs that have the server for themselves, from submission to the news of the end."""
    seconds, worked = [], []
    with Client(server.url) as client:
        client.wait(client.submit("text2music", {**song, "seed": 9_999}).id)
        used = server.core_seconds()
        for seed in range(count):
            begun = time.perf_counter()
            run = client.wait(client.submit("text2music", {**song, "seed": 10_000 + seed}).id)
            seconds.append(time.perf_counter() - begun)
            worked.append(sum(node.seconds or 0.0 for node in run.nodes if node.state == "finished"))
    return {
        "seconds": round(statistics.median(seconds), 3),
        "of_which_stages": round(statistics.median(worked), 3),
        "core_seconds_per_song": round((server.core_seconds() - used) / count, 3),
    }


async def arrivals(server: Server, song: dict[str, Any], rate: float, count: int, base: int) -> dict[str, Any]:
    """`count` songs that come at `rate` per second."""
    chance = random.Random(base)
    accepted: list[str] = []
    rejected = 0
    used = server.core_seconds()
    async with AsyncClient(server.url) as client:
        begun = time.time()
        due = begun
        for i in range(count):
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.time()))
            try:
                accepted.append((await client.submit("text2music", {**song, "seed": base + i})).id)
            except Overloaded:
                rejected += 1
        looks = asyncio.create_task(occupancy(client))
        ended = [await client.wait(run) for run in accepted]
        looks.cancel()
        engine = await looks
    took = sorted(_time(run, "finished_at") - _time(run, "created_at") for run in ended)
    last = max(_time(run, "finished_at") for run in ended)
    return {
        "arrivals_per_second": round(rate, 3),
        "songs_per_second": round(len(ended) / (last - begun), 3),
        "core_seconds_per_song": round((server.core_seconds() - used) / max(1, len(ended)), 3),
        "p50": round(statistics.median(took), 2),
        "p99": round(took[min(len(took) - 1, int(0.99 * len(took)))], 2),
        "rejected": rejected,
        "failed": sum(run.state != "succeeded" for run in ended),
        "engine": engine,
    }


async def occupancy(client: AsyncClient) -> dict[str, float]:
    """How the engine is filled, looked at every second until cancelled: means."""
    seen: list[dict[str, float]] = []
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(1)
            told = [each["engine"] for process in (await client.stats())["serving"].values() for each in process]
            seen += [engine for engine in told if engine]
    return {
        name: round(statistics.fmean(engine[name] for engine in seen), 3) if seen else 0.0
        for name in ("songs_per_turn", "occupancy", "busy", "steps_per_second")
    }


def _time(run: Run, name: str) -> float:
    return datetime.fromisoformat(run.content[name]).timestamp()


WAVE = 60
"""Songs of one wave of a soak."""


async def soak(server: Server, song: dict[str, Any], songs: int) -> dict[str, Any]:
    """Many short songs in waves; gives the memory of all processes after each, and how much it grew in the last half.

    The first half is for caches to fill.
    """
    short = {**song, "duration": 1.0, "steps": 2}
    begun, failed = time.monotonic(), 0
    memory: list[dict[str, float]] = []
    async with AsyncClient(server.url) as client:
        for first in range(0, songs, WAVE):
            seeds = range(1_000_000 + first, 1_000_000 + min(first + WAVE, songs))
            runs = [(await client.submit("text2music", {**short, "seed": seed})).id for seed in seeds]
            failed += sum([(await client.wait(run)).state != "succeeded" for run in runs])
            memory.append(server.memory())
    totals = [round(sum(each.values())) for each in memory]
    middle = totals[len(totals) // 2]
    return {
        "songs": songs,
        "seconds": round(time.monotonic() - begun, 1),
        "failed": failed,
        "mb_after_each_wave": totals,
        "growth_in_last_half": round(totals[-1] / middle - 1, 3),
        "mb_at_the_end": memory[-1],
    }


def compared(alone: Alone, server: Server, song: dict[str, Any], count: int) -> dict[str, Any]:
    """The idle server against the local runner, made in turns."""
    before = alone.songs(count)
    told = one_after_the_other(server, song, count)
    after = alone.songs(count)
    seconds = (before.seconds + after.seconds) / 2
    return {
        "alone": {"seconds": round(seconds, 3), "core_seconds_per_song": round(before.core_seconds, 3)},
        "one_after_the_other": told
        | {
            "times_alone": round(seconds / told["seconds"], 2),
            "overhead_percent": round(100 * (told["seconds"] / seconds - 1), 1),
        },
    }


def loaded(
    alone: Alone, server: Server, song: dict[str, Any], load: float, asked: argparse.Namespace, base: int
) -> dict[str, Any]:
    """One load, and the songs alone that it is compared with."""
    before = alone.songs(asked.few)
    capacity = 1 / before.seconds
    found = asyncio.run(arrivals(server, song, load * capacity, max(4, int(asked.songs * min(load, 1))), base))
    told = {"load": load, "alone_songs_per_second": round(capacity, 3)}
    return told | {"times_alone": round(found["songs_per_second"] / capacity, 2)} | found


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
    asked = parser.parse_args()
    song = {**WORDS, "duration": asked.seconds, "steps": asked.steps}
    results: dict[str, Any] = {"song": song, "checkpoint": asked.checkpoint}
    with at_hand(asked.checkpoint) as folder:
        threads = asked.threads or Pool.read(asked.pools[0]).process(stages()["sample"]).torch_threads
        alone = Alone(folder, song, threads)
        for place, pool in enumerate(asked.pools):
            with served(pool, folder, {"queued": asked.queued}, asked.threads) as server:
                told: dict[str, Any] = {"cold_start": round(server.cold_start, 1)}
                told |= compared(alone, server, song, asked.few)
                if place == 0:
                    loads = enumerate(asked.loads)
                    told["loads"] = [loaded(alone, server, song, load, asked, 1000 * at) for at, load in loads]
                    if asked.soak:
                        told["soak"] = asyncio.run(soak(server, song, asked.soak))
                told["memory_mb"] = server.memory()
                results[pool] = told
        alone.close()
    report(results, asked.out)


if __name__ == "__main__":
    main()
