"""A soak: one server under a steady load for minutes, and whether anything grows.

    python -m benchmarks.soak [--minutes 30] [--load 0.8] [--checkpoint small] [--out results.json]

First the server is kept busy with eight songs at a time, which shows how many it makes in a second. Then songs arrive
at random (a Poisson process), `--load` times as many as that. Every quarter of a minute the memory (proportional set
size, and the part of it that is private), the threads and the open descriptors of every process, and the bytes of the
run table are noted, and of every song its latency (from acceptance to end). Results that are cached in shared memory
count in the memory of each process that has read one, until the cache is full; private memory is without them. The
table has their slopes over the second half, by least squares: the first half fills caches. On a machine that others
use, the capacity drifts, and latency with it; the columns that count things do not depend on that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from acestep_flows.client import AsyncClient
from acestep_flows.errors import Overloaded
from benchmarks.machine import report
from benchmarks.serving import Server, latency, served
from benchmarks.weights import open_weights

SONG = {"tags": "funk, pop", "lyrics": "[verse]\nNeon lights\n", "duration": 2.0, "steps": 4}
TOGETHER = 8
"""Songs at a time while the capacity is measured."""
SAMPLE_SECONDS = 15.0
LAST_SECONDS = 60.0
"""How long songs may take after the last one was submitted."""

HOUR = 3600.0


@dataclass
class Process:
    """One process of the server over time.

    Attributes:
        seconds: since the load began, of each sample.
        megabytes: proportional set size.
        private: what no other process has.
        descriptors: open files and sockets.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    private: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)


@dataclass
class Soak:
    """What was seen. `latencies` are pairs of the time of a song's end and its latency, in seconds."""

    processes: dict[int, Process] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    database: list[int] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    unfinished: int = 0


async def capacity(client: AsyncClient, seconds: float, seeds: itertools.count[int]) -> float:
    """Songs per second of a server that always has `TOGETHER` to make."""
    until, made = time.monotonic() + seconds, 0

    async def songs() -> int:
        count = 0
        while time.monotonic() < until:
            await client.wait((await client.submit("text2music", {**SONG, "seed": next(seeds)})).id)
            count += 1
        return count

    started = time.monotonic()
    made = sum(await asyncio.gather(*(songs() for _ in range(TOGETHER))))
    return made / (time.monotonic() - started)


async def load(client: AsyncClient, rate: float, seconds: float, seeds: itertools.count[int], seen: Soak) -> None:
    """Submit songs at random times for `seconds`, and note how each of them ended. Late answers delay no submission."""
    generator, started = random.Random(0), time.monotonic()
    due, songs = started, set[asyncio.Task[None]]()
    while (due := due + generator.expovariate(rate)) < started + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        songs.add(asyncio.create_task(_song(client, next(seeds), started, seen)))
    ended, late = await asyncio.wait(songs, timeout=LAST_SECONDS)
    for song in late:
        song.cancel()
    seen.unfinished = len(late)
    seen.failed += sum(song.exception() is not None for song in ended)


async def _song(client: AsyncClient, seed: int, started: float, seen: Soak) -> None:
    try:
        run = await client.submit("text2music", {**SONG, "seed": seed})
    except Overloaded:
        seen.refused += 1
        return
    run = await client.wait(run.id)
    seen.failed += run.state != "succeeded"
    seen.latencies.append((time.monotonic() - started, latency(run)))


async def watch(server: Server, home: Path, seen: Soak) -> None:
    """Sample the processes until cancelled."""
    started = time.monotonic()
    while True:
        await asyncio.to_thread(sample, server, home, time.monotonic() - started, seen)
        await asyncio.sleep(SAMPLE_SECONDS)


def sample(server: Server, home: Path, now: float, seen: Soak) -> None:
    """Note every process of the server, and the size of its run table."""
    for process in server.family():
        with contextlib.suppress(psutil.Error):
            name = _name(process) if process.pid != server.process.pid else "server"
            one = seen.processes.setdefault(process.pid, Process(name))
            memory = process.memory_full_info()
            one.megabytes.append(memory.pss / 1e6)
            one.private.append(memory.uss / 1e6)
            one.descriptors.append(process.num_fds())
            one.threads.append(process.num_threads())
            one.seconds.append(now)
    seen.seconds.append(now)
    seen.database.append(sum(file.stat().st_size for file in home.glob("runs.sqlite*")))


def _name(process: psutil.Process) -> str:
    """`ray::ServeReplica:...` and the like as Ray titles them, else the program's name."""
    title = " ".join(process.cmdline()[:1])
    return title.partition("::")[2][:40] if title.startswith("ray::") else str(process.name())


def slope(seconds: Sequence[float], numbers: Sequence[float]) -> float:
    """Growth per hour over the second half, by least squares; 0 for fewer than two samples."""
    half = len(seconds) // 2
    times, later = seconds[half:], numbers[half:]
    if len(set(times)) < 2:
        return 0.0
    return HOUR * statistics.linear_regression(times, later).slope


def summary(seen: Soak, rate: float, seconds: float) -> dict[str, Any]:
    """The soak in numbers."""
    ends = sorted(seen.latencies)
    half = [took for end, took in ends if end > seconds / 2]
    first = [took for end, took in ends if end <= seconds / 2]
    lasting = [one for one in seen.processes.values() if len(one.seconds) > len(seen.seconds) / 2]
    return {
        "minutes": round(seconds / 60, 1),
        "arrivals_per_second": round(rate, 2),
        "songs": len(ends),
        "failed": seen.failed,
        "refused": seen.refused,
        "unfinished": seen.unfinished,
        "p50": [round(statistics.median(part), 2) if part else None for part in (first, half)],
        "p99": [round(sorted(part)[int(0.99 * len(part))], 2) if part else None for part in (first, half)],
        "latency_slope": round(slope([end for end, _ in ends], [took for _, took in ends]), 2),
        "database_mb": [round(seen.database[0] / 1e6, 2), round(seen.database[-1] / 1e6, 2)],
        "database_kb_per_song": round((seen.database[-1] - seen.database[0]) / 1e3 / max(1, len(ends)), 2),
        "processes_that_came_and_went": len(seen.processes) - len(lasting),
        "processes": [
            {
                "name": one.name,
                "mb": [round(one.megabytes[0], 1), round(one.megabytes[-1], 1)],
                "mb_per_hour": round(slope(one.seconds, one.megabytes), 1),
                "private_mb": [round(one.private[0], 1), round(one.private[-1], 1)],
                "private_mb_per_hour": round(slope(one.seconds, one.private), 1),
                "descriptors": [one.descriptors[0], one.descriptors[-1]],
                "descriptors_per_hour": round(slope(one.seconds, one.descriptors), 1),
                "threads": [one.threads[0], one.threads[-1]],
            }
            for one in sorted(lasting, key=lambda one: -one.megabytes[-1])
        ],
    }


def table(found: dict[str, Any]) -> str:
    """A summary in Markdown."""
    (first, last), (before, after) = found["database_mb"], found["p50"]
    lines = [
        f"{found['minutes']} minutes, {found['songs']} songs, {found['arrivals_per_second']} a second "
        f"({found['load']:.0%} of {found['capacity']}), {found['failed']} failed, {found['refused']} refused, "
        f"{found['unfinished']} unfinished; "
        f"load average {found['load_average'][0]:.1f} before, {found['load_average'][1]:.1f} after",
        "",
        f"- latency, median of first and second half: {before} s, {after} s; p99: {found['p99'][0]} s, "
        f"{found['p99'][1]} s; slope in the second half {found['latency_slope']} s an hour",
        f"- run table: {first} to {last} MB, {found['database_kb_per_song']} kB a song",
        f"- processes that came or went: {found['processes_that_came_and_went']}",
        "",
        "| process | MB first, last | an hour | private | an hour | descriptors first, last | an hour | threads |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['name']} | {one['mb'][0]}, {one['mb'][1]} | {one['mb_per_hour']} "
        f"| {one['private_mb'][0]}, {one['private_mb'][1]} | {one['private_mb_per_hour']} "
        f"| {one['descriptors'][0]}, {one['descriptors'][1]} | {one['descriptors_per_hour']} "
        f"| {one['threads'][0]}, {one['threads'][1]} |"
        for one in found["processes"]
    ]
    return "\n".join(lines)


async def soak(server: Server, home: Path, minutes: float, share: float) -> dict[str, Any]:
    """Load a server and watch it."""
    seeds, seen, before = itertools.count(1), Soak(), psutil.getloadavg()[0]
    async with AsyncClient(server.url) as client:
        await client.wait((await client.submit("text2music", {**SONG, "seed": 0})).id)
        most = await capacity(client, min(60.0, 6 * minutes), seeds)
        print(f"capacity: {most:.2f} songs a second", flush=True)
        watching = asyncio.create_task(watch(server, home, seen))
        await load(client, share * most, 60 * minutes, seeds, seen)
        watching.cancel()
        await asyncio.to_thread(sample, server, home, 60 * minutes, seen)
    return {
        "capacity": round(most, 2),
        "load": share,
        "load_average": (before, psutil.getloadavg()[0]),
        **summary(seen, share * most, 60 * minutes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--load", type=float, default=0.8, help="arrivals, as a share of what the server makes")
    parser.add_argument("--checkpoint", default="small", help="nano, small, middle, or a folder")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    with open_weights(arguments.checkpoint) as folder, served("local", folder, {}, threads=1) as server:
        found = asyncio.run(soak(server, server.home, arguments.minutes, arguments.load))
    report({"soak": found}, arguments.out)
    print(table(found))


if __name__ == "__main__":
    main()
