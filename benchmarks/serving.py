"""The whole server, from outside: cold start, what a hop costs, a sweep of arrival rates, a soak.

    python -m benchmarks.serving [--checkpoint small|middle|DIR] [--seconds 10] [--steps 27] [--songs 24]
                                 [--loads 0.1 0.5 1 2] [--pools local split] [--soak MINUTES] [--out results.json]

`alone` is one song after the other in one process without a server: its songs per second are the capacity that loads
are multiples of, and what `times_alone` compares with. Songs arrive at random (a Poisson process with a fixed seed)
whether or not earlier ones are done; a song's latency is from its acceptance to its end. Only the words are cached.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from acestep_flows.client import AsyncClient, Client, Run
from acestep_flows.errors import Overloaded
from acestep_flows.graph.check import checked
from acestep_flows.graph.expand import lay_out
from acestep_flows.graph.find import Library
from acestep_flows.graph.scheduler import Scheduler
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.random import MIDDLE, SMALL, write_random_checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import shipped
from acestep_flows.stages.registry import stages
from benchmarks.machine import report

SIZES = {"small": SMALL, "middle": MIDDLE}
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

    def memory(self) -> dict[str, float]:
        """Megabytes of each process, what it shares with others counted in part."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        found: dict[str, float] = {}
        for process in family:
            with contextlib.suppress(psutil.Error):
                name = process.name() if process.pid != self.process.pid else "server"
                found[name] = found.get(name, 0.0) + round(process.memory_full_info().pss / 1e6, 1)
        return found


@contextlib.contextmanager
def served(name: str, checkpoint: Path, limits: dict[str, int]) -> Iterator[Server]:
    """A server with a shipped pool, over a checkpoint and limits of our own."""
    with tempfile.TemporaryDirectory() as folder:
        pool = yaml.safe_load((shipped() / f"{name}.yaml").read_text())
        pool |= {"checkpoint": str(checkpoint), "limits": {**pool.get("limits", {}), **limits}}
        path = Path(folder) / "pool.yaml"
        path.write_text(yaml.safe_dump(pool))
        server = Server(path, Path(folder) / "home")
        try:
            yield server
        finally:
            server.stop()


def alone(checkpoint: Path, song: dict[str, Any], count: int) -> list[float]:
    """Seconds of each of `count` songs, one after the other, in this process."""
    scope = checked(Library().load("text2music"), stages(), Library().nested)
    seconds = []
    with LocalRunner(Checkpoint.open(checkpoint), Placement()) as runner:
        scheduler = Scheduler(stages(), runner)
        for seed in range(count + 1):  # the first one loads the weights
            begun = time.perf_counter()
            asyncio.run(scheduler.run(lay_out(scope, {**song, "seed": seed})))
            seconds.append(time.perf_counter() - begun)
    return seconds[1:]


def idle(server: Server, song: dict[str, Any], count: int) -> list[float]:
    """Seconds of each of `count` songs that have the server for themselves."""
    with Client(server.url) as client:
        ended = [client.wait(client.submit("text2music", {**song, "seed": 10_000 + i}).id) for i in range(count + 1)]
    return [run.seconds or 0.0 for run in ended[1:]]


async def arrivals(server: Server, song: dict[str, Any], rate: float, count: int, base: int) -> dict[str, Any]:
    """`count` songs that come at `rate` per second."""
    chance = random.Random(base)
    accepted: list[str] = []
    rejected = 0
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
        ended = [await client.wait(run) for run in accepted]
        engines = [told["engine"] for each in (await client.stats())["serving"].values() for told in each]
    took = sorted(_time(run, "finished_at") - _time(run, "created_at") for run in ended)
    last = max(_time(run, "finished_at") for run in ended)
    return {
        "arrivals_per_second": round(rate, 3),
        "songs_per_second": round(len(ended) / (last - begun), 3),
        "p50": round(statistics.median(took), 2),
        "p99": round(took[min(len(took) - 1, int(0.99 * len(took)))], 2),
        "rejected": rejected,
        "failed": sum(run.state != "succeeded" for run in ended),
        "engine": next((engine for engine in engines if engine), None),
    }


def _time(run: Run, name: str) -> float:
    return datetime.fromisoformat(run.content[name]).timestamp()


async def soak(server: Server, song: dict[str, Any], minutes: float, rate: float) -> list[dict[str, Any]]:
    """Waves of songs for so long, and the memory of every process after each."""
    until = time.monotonic() + 60 * minutes
    waves: list[dict[str, Any]] = []
    while time.monotonic() < until:
        base = 1_000_000 + 1000 * len(waves)
        wave = await arrivals(server, song, rate, 20, base)
        waves.append({"songs_per_second": wave["songs_per_second"], "failed": wave["failed"], "mb": server.memory()})
    return waves


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="small", help="small, middle, or a folder")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--steps", type=int, default=27)
    parser.add_argument("--songs", type=int, default=24, help="songs for each load")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.1, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--pools", nargs="+", default=["local", "split"], help="the first one is swept")
    parser.add_argument("--queued", type=int, default=200)
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES")
    parser.add_argument("--out")
    asked = parser.parse_args()
    song = {**WORDS, "duration": asked.seconds, "steps": asked.steps}
    results: dict[str, Any] = {"song": song, "checkpoint": asked.checkpoint}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(asked.checkpoint)
        if asked.checkpoint in SIZES:
            folder = Path(made) / asked.checkpoint
            write_random_checkpoint(folder, SIZES[asked.checkpoint], seed=1)
        before = alone(folder, song, 5)
        capacity = 1 / statistics.median(before)
        results["alone"] = {"seconds": round(1 / capacity, 3), "songs_per_second": round(capacity, 3)}
        for place, pool in enumerate(asked.pools):
            with served(pool, folder, {"queued": asked.queued}) as server:
                told: dict[str, Any] = {"cold_start": round(server.cold_start, 1)}
                told["idle_seconds"] = round(statistics.median(idle(server, song, 5)), 3)
                if place == 0:
                    told["loads"] = []
                    for number, load in enumerate(asked.loads):
                        count = max(4, int(asked.songs * min(load, 1)))
                        found = asyncio.run(arrivals(server, song, load * capacity, count, 1000 * number))
                        found["times_alone"] = round(found["songs_per_second"] / capacity, 2)
                        told["loads"].append({"load": load, **found})
                    if asked.soak:
                        told["soak"] = asyncio.run(soak(server, song, asked.soak, capacity))
                told["memory_mb"] = server.memory()
                results[pool] = told
    report(results, asked.out)


if __name__ == "__main__":
    main()
