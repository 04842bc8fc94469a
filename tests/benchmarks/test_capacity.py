"""The simulation of machines: queues as theory has them, engines that share turns, and limits that are found."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool
from benchmarks.capacity import check, costs, mix
from benchmarks.capacity.costs import FRAMES_PER_SECOND, Costs
from benchmarks.capacity.events import Activity, Cores, Simulation, Station
from benchmarks.capacity.machine import Machine, Shared
from benchmarks.capacity.mix import Kind
from benchmarks.capacity.simulate import capacity, simulate

SONG = Kind(1.0, "text2music", 10, steps=4, inputs={"tags": "pop"})
FREE = Costs(turn=0, row_frame=0, accept=0, call=0, hop=0, row=0, object_store=0, audio_bytes=0)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_a_queue_waits_as_theory_has_it(load: float) -> None:
    """One place, random arrivals, equal times: Pollaczek and Khinchine."""
    simulation, station, generator, waits = Simulation(), Station(), random.Random(1), list[float]()

    def customer() -> Activity:
        arrived = simulation.now
        yield from station.use(1.0)
        waits.append(simulation.now - arrived - 1.0)

    def arrivals() -> Activity:
        while True:
            yield generator.expovariate(load)
            simulation.begin(customer())

    simulation.begin(arrivals())
    simulation.run(100_000)
    assert sum(waits) / len(waits) == pytest.approx(load / (2 * (1 - load)), rel=0.1)
    assert station.busy / 100_000 == pytest.approx(load, rel=0.02)


def test_places_are_given_in_the_order_of_asking() -> None:
    simulation, station, order = Simulation(), Station(2), list[int]()

    def customer(number: int) -> Activity:
        yield from station.use(1.0)
        order.append(number)

    for number in range(5):
        simulation.begin(customer(number))
    simulation.run(10)
    assert order == [0, 1, 2, 3, 4]


def one_machine(cost: Costs, songs: int, pool: str = "gpu-pool") -> list[float]:
    """Latencies of songs that arrive together."""
    simulation, ends = Simulation(), list[tuple[float, float]]()
    machine = Machine(simulation, Pool.read(pool), cost, 96, Shared(Station()))
    for _ in range(songs):
        simulation.begin(machine.run(SONG, ends))
    simulation.run(1e6)
    return [latency for _, latency in ends]


def test_songs_of_an_engine_share_its_turns() -> None:
    """Six samplers with one song each, then with two each: what a turn costs by itself is paid once."""
    rows = SONG.rows * SONG.seconds * FRAMES_PER_SECOND
    cost = replace(FREE, turn=1.0, row_frame=0.1 / rows)
    assert one_machine(cost, 6) == pytest.approx([4 * 1.1] * 6)
    shared = one_machine(cost, 12)
    assert max(shared) < 4 * (1.0 + 2 * 0.1) + 1.1 + 1e-9
    assert max(shared) > 4 * 1.2 - 1e-9


def test_a_turn_holds_no_more_than_the_pool_allows() -> None:
    """Songs that fill a pass alone take turns: two on each of six samplers."""
    long = replace(SONG, seconds=240)
    pool = Pool.read("gpu-pool")
    pool = pool.model_copy(update={"engine": pool.engine.model_copy(update={"tokens": 2000})})
    assert long.rows * long.seconds * FRAMES_PER_SECOND > pool.engine.tokens
    simulation, ends = Simulation(), list[tuple[float, float]]()
    machine = Machine(simulation, pool, replace(FREE, turn=1.0), 96, Shared(Station()))
    for _ in range(12):
        simulation.begin(machine.run(long, ends))
    simulation.run(1e6)
    assert max(latency for _, latency in ends) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({"row": 0.05}, "run table"),
        ({"accept": 0.05}, "HTTP processes"),
        ({"audio_bytes": 1e6, "bytes_per_second": 2e8}, "links to the store"),
        ({"row_frame": 6 / (20 * 4 * SONG.rows * 10 * FRAMES_PER_SECOND)}, "GPUs of samplers"),
    ],
)
def test_what_ends_first_is_found(change: dict[str, Any], limit: str) -> None:
    """Each of these costs lets a machine with six samplers end twenty runs a second."""
    found = capacity([SONG], Pool.read("gpu-pool"), replace(FREE, **change), 30, 1, runs=2000)
    assert next(iter(found.limits)) == limit
    assert found.limits[limit] == pytest.approx(20, rel=0.05)
    assert found.ended == pytest.approx(20, rel=0.15), "near its limit a short queue by chance looks like too much"


def test_the_table_is_shared_and_servers_are_not() -> None:
    pool = Pool.read("gpu-pool")
    servers = replace(FREE, accept=0.1)
    one, four = (capacity([SONG], pool, servers, 30, machines, runs=800).ended for machines in (1, 4))
    assert four == pytest.approx(4 * one, rel=0.15)
    table = replace(FREE, row=0.1)
    one, four = (capacity([SONG], pool, table, 30, machines, runs=800).ended for machines in (1, 4))
    assert four == pytest.approx(one, rel=0.15)


def test_the_same_seed_is_the_same_simulation() -> None:
    pool, cost = Pool.read("gpu-pool"), costs.of_card("H200")
    first, again, other = (simulate(mix.DEFAULT, pool, cost, 2.0, 30, runs=100, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_every_kind_of_the_mix_is_a_plan_of_the_product() -> None:
    assert sum(kind.share for kind in mix.DEFAULT) == pytest.approx(1)
    for kind in mix.DEFAULT:
        assert any(node.stage in mix.STEPS for node in kind.plan.nodes.values())
        assert kind.rows == (3 if kind.graph == "edit-lyrics" else 1.5)


def test_a_measured_card_takes_the_place_of_the_roofline(tmp_path: Path) -> None:
    passes = [
        {"rows": rows, "song_seconds": seconds, "milliseconds": 4 + rows * seconds * FRAMES_PER_SECOND * 0.01}
        for rows in (1, 2, 16)
        for seconds in (30, 60)
    ]
    songs = [{"song_seconds": 240, "autoencoder": 2.4, "vocoder": 4.8}]
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps({"passes": passes, "songs": songs}))
    cost = costs.of_gpu_file(file, costs.of_card("H200"))
    assert (cost.turn, cost.row_frame) == pytest.approx((0.004, 1e-5))
    assert cost.per_second["vocode"] == pytest.approx(0.02)
    assert cost.per_second["compare"] == costs.of_card("H200").per_second["compare"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"passes": [], "songs": []}', '{"passes": 3, "songs": 4}'])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"not a result of benchmarks\.gpu"):
        costs.of_gpu_file(file, costs.of_card("H200"))


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '[{"share": 0, "graph": "x", "seconds": 1}]', '[{"part": 1}]', "[3]"]
)
def test_a_mix_without_kinds_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "mix.json"
    file.write_text(content)
    with pytest.raises(InputError, match="list of kinds|shares above zero"):
        mix.read(file)


@pytest.mark.parametrize("setting", ["row", "row=", "row=-1", "rows=1", "per_call=1", "row=x"])
def test_a_cost_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match="not a cost"):
        costs.with_given(FREE, [setting])


def test_given_costs_take_the_place_of_others() -> None:
    changes: dict[str, Any] = {"row": 0.005, "turn": 2.0}
    assert costs.with_given(FREE, [f"{name}={value}" for name, value in changes.items()]) == replace(FREE, **changes)


def test_cores_in_company_are_slower_by_what_was_measured() -> None:
    """Jobs of a second that are asked for at once; with all cores busy they take half as long again."""

    def ends(jobs: int, places: int) -> list[float]:
        return shared_cores([(0.0, 1.0)] * jobs, places, company=1.5)[0]

    assert ends(1, 2) == [1.0]
    assert ends(4, 2) == pytest.approx([3.0] * 4), "they share the cores"
    assert ends(2, 3) == pytest.approx([1.25, 1.25]), "one of two others is busy"
    assert ends(2, 1) == pytest.approx([2.0, 2.0])


def shared_cores(jobs: Sequence[tuple[float, float]], places: int, company: float = 1.0) -> tuple[list[float], float]:
    """When jobs end, in order, that begin at a time and need so many seconds; and busy core-seconds."""
    simulation, ended = Simulation(), list[float]()
    cores = Cores(simulation, places, company)

    def job(seconds: float) -> Activity:
        yield from cores.use(seconds)
        ended.append(simulation.now)

    for begins, seconds in jobs:
        simulation.begin(job(seconds), begins)
    simulation.run(1000)
    return ended, cores.busy


def test_short_work_does_not_wait_for_long_work() -> None:
    ended, busy = shared_cores([(0.0, 10.0), (0.0, 10.0), (1.0, 0.1)], places=2)
    assert ended == pytest.approx([1.15, 10.05, 10.05])
    assert busy == pytest.approx(20.1)


@given(
    jobs=st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 20)), min_size=1, max_size=12),
    places=st.integers(1, 4),
)
def test_cores_do_all_the_work_and_none_faster_than_a_core(jobs: list[tuple[float, float]], places: int) -> None:
    ended, busy = shared_cores(jobs, places)
    assert len(ended) == len(jobs)
    assert busy == pytest.approx(sum(seconds for _, seconds in jobs))
    assert max(ended) >= max(begins + seconds for begins, seconds in jobs) - 1e-6
    first = min(begins for begins, _ in jobs)
    assert max(ended) <= max(begins for begins, _ in jobs) + sum(seconds for _, seconds in jobs) + 1e-6
    assert (max(ended) - first) * places >= busy - 1e-6


@pytest.mark.parametrize(("latency", "changed"), [(1.5, "hop"), (0.8, "beside")])
def test_costs_are_fitted_to_how_long_a_song_alone_takes(latency: float, changed: str) -> None:
    pool, cores = Pool.read("local"), 2
    measured = replace(FREE, per_call={"vocode": 0.5}, call=0.05, other=0.02)
    fitted = check.fitted(measured, latency, pool, cores)
    assert getattr(fitted, changed) > 0
    assert replace(fitted, hop=0.0, beside=0.0) == measured
    alone = simulate([check.SONG], pool, fitted, check.SELDOM, 0.0, cores=cores, runs=40)
    assert alone.p50 == pytest.approx(latency, rel=0.01)
