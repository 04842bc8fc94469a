"""Every shipped pool comes up on the machines that it is for: in every order, and after every death."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from acestep_flows.runtime.serving.local_ray import FRONT_CPUS
from acestep_flows.runtime.serving.packing import Demand, NodeRoom, Packing, demands_of
from acestep_flows.runtime.serving.pool import SHIPPED, Pool

FRONT = Demand("front", 1, {"CPU": FRONT_CPUS})
ORDERS = 40
UNITS = 10_000


def layouts() -> Iterator[tuple[str, list[NodeRoom]]]:
    """Every pool with each of the sets of machines that it names; without any, with one that has what it reserves."""
    for name in SHIPPED:
        pool = Pool.read(name)
        for group in pool.machines:
            room = {"CPU": group.cpus, "GPU": float(group.gpus)}
            yield name, [NodeRoom(f"machine {number}", room) for number in range(group.count)]
        if not pool.machines:
            own = {resource: 100.0 for process in pool.processes.values() for resource in process.resources}
            yield name, [NodeRoom("machine", {"CPU": pool.cpus + FRONT_CPUS, "GPU": pool.gpus, **own})]


LAYOUTS = [pytest.param(name, nodes, id=f"{name} on {len(nodes)}") for name, nodes in layouts()]


@pytest.mark.parametrize(("name", "nodes"), LAYOUTS)
def test_a_pool_has_room_in_every_order(name: str, nodes: list[NodeRoom]) -> None:
    packing = Packing([*demands_of(Pool.read(name), most=True), FRONT], nodes)
    assert packing.unlucky() is None
    assert packing.is_possible()
    assert packing.is_exact, "all of it was looked at"


def test_the_eight_gpus_are_named_in_all_their_arrangements() -> None:
    groups = Pool.read("gpu-pool").machines
    assert {(group.count, group.gpus) for group in groups} == {(1, 8), (2, 4), (4, 2), (8, 1)}


@dataclass
class Cluster:
    """Machines that get replicas as Ray places them: on any with room, on the GPU with the least that is enough."""

    nodes: list[NodeRoom]
    dice: random.Random
    placed: list[tuple[Demand, int, list[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gpus = [[UNITS] * int(node.free.get("GPU", 0)) for node in self.nodes]

    def cpus_left(self, place: int) -> float:
        used = sum(demand.needs.get("CPU", 0.0) for demand, at, _ in self.placed if at == place)
        return self.nodes[place].free["CPU"] - used + 1e-9

    def place(self, demand: Demand) -> bool:
        """Place one replica on some machine."""
        wanted = round(demand.needs.get("GPU", 0.0) * UNITS)
        for place in self.dice.sample(range(len(self.nodes)), len(self.nodes)):
            gpus = self.gpus[place]
            whole, share = divmod(wanted, UNITS)
            if whole:
                chosen = [number for number, free in enumerate(gpus) if free == UNITS][:whole]
                has_room = len(chosen) == whole
            else:
                fitting = sorted((free, number) for number, free in enumerate(gpus) if free >= share)
                chosen = [fitting[0][1]] if share and fitting else []
                has_room = not share or bool(fitting)
            if has_room and self.cpus_left(place) >= demand.needs.get("CPU", 0.0):
                for number in chosen:
                    gpus[number] -= share or UNITS
                self.placed.append((demand, place, chosen))
                return True
        return False

    def free(self, entry: tuple[Demand, int, list[int]]) -> Demand:
        """A replica dies; what it had is free."""
        self.placed.remove(entry)
        demand, place, chosen = entry
        share = round(demand.needs.get("GPU", 0.0) * UNITS) % UNITS
        for number in chosen:
            self.gpus[place][number] += share or UNITS
        return demand


@pytest.mark.parametrize(("name", "nodes"), LAYOUTS)
def test_a_pool_comes_up_again_after_every_death(name: str, nodes: list[NodeRoom]) -> None:
    demands = [*demands_of(Pool.read(name), most=True), FRONT]
    replicas = [demand for demand in demands for _ in range(demand.count)]
    for seed in range(ORDERS):
        dice = random.Random(seed)
        cluster = Cluster(nodes, dice)
        assert all(cluster.place(demand) for demand in dice.sample(replicas, len(replicas)))
        for entry in list(cluster.placed):
            assert cluster.place(cluster.free(entry)), f"a dead replica of {entry[0].process}"
        for place in range(len(nodes)):
            lost = [cluster.free(entry) for entry in list(cluster.placed) if entry[1] == place]
            # While the machine is away, others may take what they find; the rest comes up when it is back.
            waiting = [demand for demand in dice.sample(lost, len(lost)) if not _elsewhere(cluster, demand, place)]
            assert all(cluster.place(demand) for demand in waiting), f"machine {place}"


def _elsewhere(cluster: Cluster, demand: Demand, gone: int) -> bool:
    before = cluster.gpus[gone], cluster.nodes[gone]
    cluster.gpus[gone], cluster.nodes[gone] = [], NodeRoom("gone", {"CPU": -1.0})
    try:
        return cluster.place(demand)
    finally:
        cluster.gpus[gone], cluster.nodes[gone] = before


def test_the_simulation_finds_what_is_known_to_fail() -> None:
    """Shares of 0.4 and 0.6 on two GPUs, in the order of the file."""
    cluster = Cluster([NodeRoom("machine", {"CPU": 1.0, "GPU": 2.0})], random.Random(1))
    shares = [Demand(str(share), 1, {"GPU": share}) for share in (0.4, 0.4, 0.6, 0.6)]
    assert [cluster.place(demand) for demand in shares] == [True, True, True, False]
