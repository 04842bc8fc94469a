"""Runs a mix over machines, and finds the rate that they keep up with."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from acestep_flows.runtime.serving.pool import Pool
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.events import Activity, Cores, Simulation, Station
from benchmarks.capacity.machine import Machine, Shared
from benchmarks.capacity.mix import Kind, draw

GPUS_OF_A_MACHINE = 8
CORES_OF_A_MACHINE = 96

WARM = 0.4
"""Share of the time that is not measured: the first songs have to go through."""

KEPT_UP = 0.97
"""Share of the arrivals that have to end in the time that is measured."""

RUNS = 3000
"""Runs of a simulation, at the least: with few, chance decides whether they keep up."""

HALVINGS = 6


@dataclass(frozen=True)
class Load:
    """What happened under one rate of arrivals.

    Attributes:
        rate: runs a second that arrive on average.
        arrivals: runs a second that were submitted.
        ended: runs a second that ended.
        p50, p99: seconds from submission to end; infinite if nothing ended.
        use: share of the time that the places of each kind of station were used.
    """

    rate: float
    arrivals: float
    ended: float
    p50: float
    p99: float
    use: dict[str, float]

    @property
    def kept_up(self) -> bool:
        return self.ended >= KEPT_UP * self.arrivals

    @property
    def limits(self) -> dict[str, float]:
        """Runs a second at which each kind of station would be used wholly, the lowest first."""
        limits = {name: self.ended / use for name, use in self.use.items() if use > 0}
        return dict(sorted(limits.items(), key=lambda item: item[1]))


def simulate(
    mix: Sequence[Kind],
    pool: Pool,
    costs: Costs,
    rate: float,
    seconds: float,
    *,
    machines: int = 1,
    cores: int = CORES_OF_A_MACHINE,
    runs: int = RUNS,
    together: int = 0,
    seed: int = 0,
) -> Load:
    """Have `rate` runs a second arrive at random.

    Args:
        together: so many runs are under way at any time in place of a rate: one ends, the next is submitted.
        seconds: how long; longer if fewer than `runs` would arrive.
        machines: with a server each; runs go to the next one in turn.
        cores: of each.
    """
    simulation, shared, generator = Simulation(), Shared(Station()), random.Random(seed)
    cluster = [Machine(simulation, pool, costs, cores, shared) for _ in range(machines)]
    begins: list[float] = []
    ends: list[tuple[float, float]] = []
    seconds = max(seconds, runs / rate)

    def arrivals() -> Activity:
        for number in itertools.count():
            yield generator.expovariate(rate)
            begins.append(simulation.now)
            simulation.begin(cluster[number % machines].run(draw(mix, generator), ends))

    def one_after_the_other(machine: Machine) -> Activity:
        while True:
            begins.append(simulation.now)
            yield from machine.run(draw(mix, generator), ends)

    if together:
        for number in range(together):
            simulation.begin(one_after_the_other(cluster[number % machines]))
    else:
        simulation.begin(arrivals())
    simulation.run(WARM * seconds)
    before, begun_before, ended_before = _busy(cluster, shared), len(begins), len(ends)
    simulation.run(seconds)
    after, measured = _busy(cluster, shared), (1 - WARM) * seconds
    latencies = sorted(latency for _, latency in ends[ended_before:])
    return Load(
        rate=rate,
        arrivals=(len(begins) - begun_before) / measured,
        ended=len(latencies) / measured,
        p50=_quantile(latencies, 0.5),
        p99=_quantile(latencies, 0.99),
        use={name: (busy - before[name][0]) / (places * measured) for name, (busy, places) in after.items()},
    )


def capacity(mix: Sequence[Kind], pool: Pool, costs: Costs, seconds: float, machines: int, *, runs: int = RUNS) -> Load:
    """The highest rate that the machines keep up with, found by halving between what is little and what is too much.

    The upper bound comes from a light load: no station can be used for more than all of the time.
    """
    light = simulate(mix, pool, costs, 0.2 * machines, seconds, machines=machines, runs=runs)
    low, high = light, next(iter(light.limits.values())) * 1.1
    for _ in range(HALVINGS):
        middle = simulate(mix, pool, costs, (low.rate + high) / 2, seconds, machines=machines, runs=runs)
        if middle.kept_up:
            low = middle
        else:
            high = middle.rate
    return low


def _busy(cluster: Sequence[Machine], shared: Shared) -> dict[str, tuple[float, int]]:
    """Place-seconds used so far, and places, by kind of station."""
    stations: dict[str, list[Station | Cores]] = defaultdict(list)
    stations["run table"].append(shared.table)
    for machine in cluster:
        stations["cores"].append(machine.cores)
        stations["HTTP processes"].append(machine.http)
        stations["links to the store"].append(machine.link)
        for gpu in machine.gpus:
            stations[f"GPUs of {' and '.join(sorted(set(gpu.names)))}"].append(gpu.station)
    return {
        name: (sum(station.busy for station in group), sum(station.places for station in group))
        for name, group in stations.items()
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")
