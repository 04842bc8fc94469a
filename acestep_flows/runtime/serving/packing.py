"""Whether the processes of a pool find places on machines: in some order, and in every order. It knows no Ray.

Ray places replicas one by one, in an order that nobody chooses, and never moves one. So a pool may have room in all and
yet not come up: two processes of 0.4 and two of 0.6 GPUs fill two GPUs, but 0.4 and 0.4 on one of them leave no place
for the second 0.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from acestep_flows.runtime.serving.pool import Pool

UNITS = 10_000
"""Parts of one of a resource: Ray counts in ten-thousandths."""

MOST_STATES = 100_000
"""States of all machines together that a search keeps. Beyond, it says only what it has found."""

SHOWN_NODES = 4

ACCELERATOR = "accelerator_type:"
ACCELERATOR_SHARE = 0.001
"""What Ray reserves of the resource that stands for a kind of GPU."""

NodeState: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...]]
"""What is free on one machine: number of its labels, units by resource, units of each GPU."""

State: TypeAlias = tuple[NodeState, ...]
"""What is free on all machines, sorted, so that machines that are alike count once."""


@dataclass(frozen=True)
class NodeRoom:
    """What is free on one machine.

    Attributes:
        name: for people.
        free: amounts by Ray's names: `CPU`, `GPU`, and resources of the user.
        labels: values by key.
    """

    name: str
    free: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Demand:
    """Replicas that are alike.

    Attributes:
        process: whose replicas they are.
        count: how many.
        needs: what each of them reserves, by Ray's names.
        labels: selectors of the machines that they may run on, by key.
    """

    process: str
    count: int
    needs: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        pins = [f"{key}={value}" for key, value in self.labels.items()]
        return " and ".join([*(f"{amount:g} {name}" for name, amount in self.needs.items()), *pins])


def demands_of(pool: Pool, *, most: bool = False) -> list[Demand]:
    """What the processes of a pool reserve.

    Args:
        most: of all replicas that there may be, not only of those that are started with the pool.
    """
    demands = []
    for name, process in pool.processes.items():
        needs = {"CPU": process.cpus, "GPU": process.gpus, **process.resources}
        if process.accelerator_type is not None:
            needs[f"{ACCELERATOR}{process.accelerator_type}"] = ACCELERATOR_SHARE
        needs = {resource: amount for resource, amount in needs.items() if amount}
        demands.append(Demand(name, process.most if most else process.least, needs, process.labels))
    return [demand for demand in demands if demand.count]


class Packing:
    """Replicas and the machines that they are to be placed on.

    Args:
        demands: the replicas.
        nodes: the machines.

    Attributes:
        is_exact: whether the searches so far have looked at everything.
    """

    def __init__(self, demands: Sequence[Demand], nodes: Sequence[NodeRoom]) -> None:
        self._demands = sorted(demands, key=lambda demand: -demand.needs.get("GPU", 0.0))
        self._nodes = nodes
        self._names = sorted({name for demand in demands for name in demand.needs} - {"GPU"})
        self._labels = list({tuple(sorted(node.labels.items())) for node in nodes})
        self.is_exact = True

    def is_possible(self) -> bool:
        """Whether all replicas find places in some order. True, too, if there is too much to look at."""
        states = {self._start()}
        for demand in (each for each in self._demands for _ in range(each.count)):
            states = self._fewer({after for state in states for after in self._placed(state, demand)})
            if not states:
                return not self.is_exact
        return True

    def unlucky(self) -> Demand | None:
        """A replica that finds no place if others are placed first, wherever they may be; None if there is none.

        What is free only shrinks while replicas are placed. So for each kind it suffices to place all others first.
        The death of a replica or a machine frees what they had, and leads to nothing new: what is left is placed as it
        may have been placed without them.
        """
        for last in self._demands:
            states = {self._start()}
            others = [demand for demand in self._demands if demand is not last]
            for demand in (each for each in (*others, last) for _ in range(each.count)):
                reached: set[State] = set()
                for state in states:
                    after = set(self._placed(state, demand))
                    if not after:
                        return demand
                    reached |= after
                states = self._fewer(reached)
        return None

    def missing(self) -> str:
        """What has no place and what there is, in a line for people; empty if all replicas can be placed."""
        if self.is_possible():
            return ""
        state = self._start()
        homeless: list[str] = []
        for demand in self._demands:
            for number in range(demand.count):
                after = min(self._placed(state, demand), default=None)
                if after is None:
                    each = f"{demand} each" if demand.count > 1 else str(demand)
                    homeless.append(f"{demand.count - number} of {demand.count} {demand.process} ({each})")
                    break
                state = after
        return f"no place for {', '.join(homeless)}; there is {self._there()}"

    def _start(self) -> State:
        return tuple(sorted(self._state_of(node) for node in self._nodes))

    def _state_of(self, node: NodeRoom) -> NodeState:
        whole, rest = divmod(_units(node.free.get("GPU", 0.0)), UNITS)
        gpus = tuple(sorted([UNITS] * whole + [rest] * bool(rest)))
        labels = self._labels.index(tuple(sorted(node.labels.items())))
        return labels, tuple(_units(node.free.get(name, 0.0)) for name in self._names), gpus

    def _placed(self, state: State, demand: Demand) -> Iterator[State]:
        """What is free after one replica more, for each place that it may get."""
        for place, node in enumerate(state):
            if place and node == state[place - 1]:
                continue
            for after in self._on(node, demand):
                yield tuple(sorted((*state[:place], after, *state[place + 1 :])))

    def _on(self, node: NodeState, demand: Demand) -> Iterator[NodeState]:
        labels, amounts, gpus = node
        left = tuple(
            free - _units(demand.needs.get(name, 0.0)) for name, free in zip(self._names, amounts, strict=True)
        )
        if min(left, default=0) < 0 or not selects(demand.labels, dict(self._labels[labels])):
            return
        for after in _without(gpus, _units(demand.needs.get("GPU", 0.0))):
            yield labels, left, after

    def _fewer(self, states: set[State]) -> set[State]:
        if len(states) <= MOST_STATES:
            return states
        self.is_exact = False
        return set(sorted(states)[:MOST_STATES])

    def _there(self) -> str:
        names = ["CPU", "GPU", *(name for name in self._names if name != "CPU")]
        wanted = {key for demand in self._demands for key in demand.labels}
        lines = []
        for node in self._nodes[:SHOWN_NODES]:
            amounts = [f"{node.free.get(name, 0.0):g} {name}" for name in names]
            labels = [f"{key}={node.labels[key]}" for key in sorted(wanted & node.labels.keys())]
            lines.append(f"{node.name}: {' and '.join([*amounts, *labels])}")
        rest = len(self._nodes) - SHOWN_NODES
        return "; ".join([*lines, f"{rest} more"] if rest > 0 else lines or ["no machine"])


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a machine with some labels is one that Ray's label selector means."""
    for key, wanted in selector.items():
        negated, value = wanted.startswith("!"), wanted.removeprefix("!")
        inside = value.removeprefix("in(").removesuffix(")") if value.startswith("in(") else value
        values = set(inside.split(",")) if value.startswith("in(") else {value}
        if (labels.get(key) in values) == negated:
            return False
    return True


def _without(gpus: tuple[int, ...], wanted: int) -> Iterator[tuple[int, ...]]:
    """The GPUs of a machine after one replica more, for each choice: a share of one GPU, or whole ones."""
    if not wanted:
        yield gpus
    elif wanted <= UNITS:
        for free in {free for free in gpus if free >= wanted}:
            rest = list(gpus)
            rest.remove(free)
            yield tuple(sorted([*rest, free - wanted]))
    elif gpus.count(UNITS) >= wanted // UNITS:
        rest = list(gpus)
        for _ in range(wanted // UNITS):
            rest.remove(UNITS)
        yield tuple(sorted([*rest, *[0] * (wanted // UNITS)]))


def _units(amount: float) -> int:
    return round(amount * UNITS)
