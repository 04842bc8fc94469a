"""Holds the simulation against a real server on this machine.

Songs that have the server to themselves say what each part costs, and the same work by one process and by one on each
core says how much slower cores are in company (`company.py`). From these costs alone the simulation says how many songs
a second the server makes when it always has enough to do, and how long songs take at a part of that rate. The server is
loaded in the same two ways, in several rounds, between which the cores are compared anew: a rented machine's drift.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import psutil

from acestep_flows.client import AsyncClient, Client, Run
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool
from benchmarks.capacity.company import Company, company
from benchmarks.capacity.costs import FRAMES_PER_SECOND, Costs
from benchmarks.capacity.mix import STEPS, Kind
from benchmarks.capacity.simulate import simulate
from benchmarks.serving import Server, latency, served
from benchmarks.weights import open_weights

SECONDS, DIFFUSION_STEPS = 4.0, 8
SELDOM = 0.01
"""Songs a second that do not meet each other."""
HALVINGS = 10
ROUNDS = 4

T = TypeVar("T")
SONG = Kind(1.0, "text2music", SECONDS, steps=DIFFUSION_STEPS, inputs={"tags": "pop", "lyrics": "[verse]\nla"})


@dataclass(frozen=True)
class Comparison:
    """A figure as simulated and as seen."""

    what: str
    simulated: float
    seen: float

    @property
    def ratio(self) -> float:
        return self.simulated / self.seen


def compare(checkpoint: str = "small", songs: int = 40, load: float = 0.6) -> tuple[Costs, Pool, list[Comparison]]:
    """Measure a server's costs, simulate it, and load it.

    Args:
        songs: made alone, half of them before the first load; and as many in each round of a load.
        load: share of the simulated capacity at which latencies are compared.
    """
    seeds = itertools.count(1)
    pool, cores = _with_one_thread(), os.cpu_count() or 1
    places = pool.limits.running
    if songs <= 2 * places:
        raise InputError(f"{songs} songs", where="--songs", allowed=f"more than {2 * places}")
    with (
        open_weights(checkpoint) as folder,
        served("local", folder, {"queued": 1000}, threads=1) as server,
        company(folder, cores, SECONDS) as in_company,
    ):
        alone = SongsAlone(server, seeds)
        alone.make(songs // 2)
        counts, slower = rounds(lambda: asyncio.run(together(server, places, songs, seeds)), in_company)
        alone.make(songs - songs // 2)
        costs = fitted(alone.costs(slower), alone.latency, pool, cores)
        full = simulate([SONG], pool, costs, 1.0, 600.0, cores=cores, together=places)
        rate = load * full.ended
        latencies, slower = rounds(lambda: asyncio.run(arriving(server, rate, songs, seeds)), in_company)
        part = simulate([SONG], pool, replace(costs, company=slower), rate, 600.0, cores=cores)
    return (
        costs,
        pool,
        [
            Comparison("songs a second, always enough to do", full.ended, _per_second(counts)),
            Comparison(f"median latency at {load:.0%} of that, s", part.p50, statistics.median(chain(*latencies))),
        ],
    )


def rounds(load: Callable[[], T], in_company: Company) -> tuple[list[T], float]:
    """What each round of a load gives, and how much slower cores in company were around them on the average."""
    results, ratios = list[T](), [in_company.slower()]
    for _ in range(ROUNDS):
        results.append(load())
        ratios.append(in_company.slower())
    return results, max(1.0, statistics.mean(ratios))


def fitted(costs: Costs, latency: float, pool: Pool, cores: int) -> Costs:
    """The costs with which a song that meets no other takes so long.

    Either calls take longer than the work of processors (`hop`), or a part of this is done beside them (`beside`).
    """

    def too_long(changed: Costs) -> float:
        return simulate([SONG], pool, changed, SELDOM, 0.0, cores=cores, runs=40).p50 - latency

    name, high = ("beside", 1.0) if too_long(costs) > 0 else ("hop", latency)
    low = 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        longer = too_long(replace(costs, **{name: middle})) > 0
        low, high = (low, middle) if longer == (name == "hop") else (middle, high)
    return replace(costs, **{name: low})


def _with_one_thread() -> Pool:
    pool = Pool.read("local")
    return pool.model_copy(
        update={"processes": {name: one.model_copy(update={"threads": 1}) for name, one in pool.processes.items()}}
    )


class SongsAlone:
    """Songs that have a server to themselves, and what they used."""

    def __init__(self, server: Server, seeds: itertools.count[int]) -> None:
        self._server, self._seeds = server, seeds
        self._http = psutil.Process(server.process.pid)
        self._runs: list[Run] = []
        self._front = self._used = 0.0  # core seconds of the HTTP process, and of all processes

    def make(self, songs: int) -> None:
        """Make so many, one after the other, after three that do not count."""
        with Client(self._server.url) as client:
            for _ in range(3):
                self._make_one(client)
            front, used = self._seconds()
            self._runs += [self._make_one(client) for _ in range(songs)]
            front_after, used_after = self._seconds()
        self._front += front_after - front
        self._used += used_after - used

    def costs(self, slower_in_company: float) -> Costs:
        """Costs of the parts, without what calls wait for beside work of processors."""
        songs, stages = len(self._runs), _stage_seconds(self._runs)
        calls = len(SONG.plan.nodes)
        front = self._front / songs
        work = sum(stages[node.stage] for node in SONG.plan.nodes.values())
        other = max(0.0, self._used / songs - front - work) / calls
        (stepping,) = STEPS & stages.keys()
        return Costs(
            turn=0.0,
            row_frame=stages[stepping] / (SONG.steps * SONG.rows * SONG.seconds * FRAMES_PER_SECOND),
            per_call=stages,
            accept=0.0,
            call=front / calls,
            hop=0.0,
            row=0.0,
            object_store=0.0,
            other=other,
            company=slower_in_company,
        )

    @property
    def latency(self) -> float:
        """The median time from a song's submission to its end."""
        return statistics.median(latency(run) for run in self._runs)

    def _make_one(self, client: Client) -> Run:
        return client.wait(client.submit("text2music", _inputs(next(self._seeds))).id)

    def _seconds(self) -> tuple[float, float]:
        front = self._http.cpu_times()
        return float(front.user + front.system), self._server.core_seconds() + time.process_time()


def _stage_seconds(runs: Sequence[Run]) -> dict[str, float]:
    """The median time of each stage."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for node in run.nodes:
            seconds[node.stage].append(node.seconds or 0.0)
    return {stage: statistics.median(each) for stage, each in seconds.items()}


async def together(server: Server, places: int, songs: int, seeds: itertools.count[int]) -> tuple[int, float]:
    """Load a server so that it has `places` songs to make. Returns how many it made meanwhile, and in what time.

    At first all are at their beginning, and at last fewer and fewer are left: both ends do not count.
    """
    left, ends = iter(range(songs)), list[float]()

    async def make(client: AsyncClient) -> None:
        for _ in left:
            await client.wait((await client.submit("text2music", _inputs(next(seeds)))).id)
            ends.append(time.perf_counter())

    async with AsyncClient(server.url) as client:
        await asyncio.gather(*(make(client) for _ in range(places)))
    first, last = places - 1, songs - places
    return last - first, ends[last] - ends[first]


def _per_second(counts: Sequence[tuple[int, float]]) -> float:
    return sum(songs for songs, _ in counts) / sum(seconds for _, seconds in counts)


async def arriving(server: Server, rate: float, songs: int, seeds: itertools.count[int]) -> list[float]:
    """Latencies of songs that arrive at random, `rate` a second, on the whole just so many."""
    generator = random.Random(0)
    times = list(itertools.accumulate(generator.expovariate(1.0) for _ in range(songs)))
    at = [moment * songs / rate / times[-1] for moment in times]

    async def make(client: AsyncClient) -> float:
        run = await client.wait((await client.submit("text2music", _inputs(next(seeds)))).id)
        return latency(run)

    async with AsyncClient(server.url) as client:
        made, began = [], time.perf_counter()
        for begins in at:
            await asyncio.sleep(began + begins - time.perf_counter())
            made.append(asyncio.create_task(make(client)))
        return list(await asyncio.gather(*made))


def _inputs(seed: int) -> dict[str, Any]:
    """Inputs of a song none of whose nodes is cached."""
    lyrics = f"[verse]\nla {seed}"
    return {"tags": f"song {seed}", "lyrics": lyrics, "duration": SECONDS, "steps": DIFFUSION_STEPS, "seed": seed}
