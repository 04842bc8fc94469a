"""Whether replicas find places on machines, checked against trying every order one by one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from acestep_flows.runtime.serving.packing import Demand, NodeRoom, Packing, demands_of, selects
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from tests.runtime.serving.pools import content


def gpu(process: str, count: int, share: float, cpus: float = 0.0) -> Demand:
    return Demand(process, count, {"GPU": share, **({"CPU": cpus} if cpus else {})})


def rooms(count: int, **free: float) -> list[NodeRoom]:
    return [NodeRoom(f"machine {number}", free) for number in range(count)]


def test_shares_that_fit_only_in_lucky_orders() -> None:
    """The pool that was shipped once: two GPUs for two encoders of 0.4 and two decoders of 0.6."""
    packing = Packing([gpu("encoders", 2, 0.4), gpu("decoders", 2, 0.6)], rooms(1, GPU=2))
    assert packing.is_possible()
    assert packing.missing() == ""
    unlucky = packing.unlucky()
    assert unlucky is not None
    assert unlucky.process == "decoders"


@pytest.mark.parametrize(
    ("demands", "nodes", "possible", "certain"),
    [
        ([gpu("a", 2, 1)], rooms(1, GPU=2), True, True),
        ([gpu("a", 2, 1)], rooms(2, GPU=1), True, True),
        ([gpu("a", 1, 2)], rooms(2, GPU=1), False, False),
        ([gpu("a", 1, 2), gpu("b", 2, 1)], rooms(2, GPU=2), True, False),
        ([gpu("a", 3, 0.6)], rooms(1, GPU=2), False, False),
        ([gpu("a", 4, 0.5)], rooms(1, GPU=2), True, True),
        ([gpu("a", 4, 0.5), gpu("b", 1, 1)], rooms(1, GPU=3), True, False),
        ([gpu("a", 1, 1, cpus=4), Demand("b", 4, {"CPU": 1})], rooms(1, GPU=1, CPU=8), True, True),
        (
            [gpu("a", 1, 1, cpus=4), Demand("b", 4, {"CPU": 1})],
            [*rooms(1, GPU=1, CPU=4), *rooms(1, CPU=4)],
            True,
            False,
        ),
        ([Demand("a", 10, {"CPU": 0.1})], rooms(1, CPU=1), True, True),
        ([Demand("a", 1, {"CPU": 1})], [], False, False),
        ([], [], True, True),
    ],
)
def test_what_is_possible_and_what_is_certain(
    demands: list[Demand], nodes: list[NodeRoom], possible: bool, certain: bool
) -> None:
    packing = Packing(demands, nodes)
    assert (packing.is_possible(), packing.unlucky() is None) == (possible, certain)
    assert (packing.missing() == "") == possible
    assert packing.is_exact


def test_pins_are_places_too() -> None:
    near, far = NodeRoom("near", {"CPU": 4, "services": 1}, {"zone": "a"}), NodeRoom("far", {"CPU": 4}, {"zone": "b"})
    services = Demand("services", 1, {"CPU": 1, "services": 1})
    there = Demand("there", 1, {"CPU": 4}, {"zone": "!a"})
    assert Packing([services, there], [near, far]).unlucky() is None
    missing = Packing([services, Demand("there", 1, {"CPU": 1}, {"zone": "c"})], [near, far]).missing()
    assert missing == (
        "no place for 1 of 1 there (1 CPU and zone=c); there is near: 4 CPU and 0 GPU and 1 services and zone=a; "
        "far: 4 CPU and 0 GPU and 0 services and zone=b"
    )
    assert "services" in Packing([services], [far]).missing()


@pytest.mark.parametrize(
    ("selector", "labels", "chosen"),
    [
        ({}, {}, True),
        ({"a": "1"}, {"a": "1", "b": "2"}, True),
        ({"a": "1"}, {"a": "2"}, False),
        ({"a": "1"}, {}, False),
        ({"a": "!1"}, {"a": "2"}, True),
        ({"a": "!1"}, {"a": "1"}, False),
        ({"a": "in(1,2)"}, {"a": "2"}, True),
        ({"a": "in(1,2)"}, {"a": "3"}, False),
        ({"a": "!in(1,2)"}, {"a": "3"}, True),
        ({"a": "1", "b": "2"}, {"a": "1"}, False),
    ],
)
def test_label_selectors_mean_what_they_mean_to_ray(
    selector: dict[str, str], labels: dict[str, str], chosen: bool
) -> None:
    assert selects(selector, labels) == chosen
    scheduler = pytest.importorskip("ray.serve._private.deployment_scheduler")
    assert bool(scheduler.node_labels_match_selector(labels, selector)) == chosen


def test_what_a_pool_demands() -> None:
    rest = [stage for stage in stages() if stage not in ("mix", "sample")]
    pool = Pool.checked(
        content(
            processes={
                "sampler": {
                    "stages": ["sample"],
                    "replicas": 2,
                    "cpus": 3,
                    "gpus": 1,
                    "device": "cuda",
                    "accelerator_type": "H100",
                    "labels": {"zone": "a"},
                },
                "mixer": {"stages": ["mix"], "cpus": 1, "autoscaling": {"minimum": 0, "maximum": 4}},
                "rest": {"stages": rest, "cpus": 0.5, "resources": {"services": 1}},
            }
        )
    )
    sampler = Demand("sampler", 2, {"CPU": 3, "GPU": 1, "accelerator_type:H100": 0.001}, {"zone": "a"})
    others = Demand("rest", 1, {"CPU": 0.5, "services": 1})
    assert demands_of(pool) == [sampler, others]
    assert demands_of(pool, most=True) == [sampler, Demand("mixer", 4, {"CPU": 1}), others]


def every_outcome(replicas: Sequence[Demand], free: tuple[int, ...]) -> Iterator[bool]:
    """Whether each order and each choice of a GPU, tried one by one, places all replicas. Amounts are in tenths."""
    for order in set(itertools.permutations(replicas)):
        yield from _outcomes(order, free)


def _outcomes(order: Sequence[Demand], free: tuple[int, ...]) -> Iterator[bool]:
    if not order:
        yield True
        return
    wanted = round(order[0].needs["GPU"] * 10)
    choices = [place for place, left in enumerate(free) if left >= wanted]
    if not choices:
        yield False
    for place in choices:
        yield from _outcomes(order[1:], (*free[:place], free[place] - wanted, *free[place + 1 :]))


class Frozen(Demand):
    """Can be in a set, by identity of its process."""

    def __hash__(self) -> int:
        return hash(self.process)


def test_it_agrees_with_trying_everything() -> None:
    dice = random.Random(7)
    seen = set()
    for _ in range(150):
        gpus = dice.randint(1, 3)
        shares = [dice.choice([0.2, 0.3, 0.4, 0.5, 0.6, 1.0]) for _ in range(dice.randint(1, 2))]
        demands = [Frozen(f"p{n}", dice.randint(1, 3), {"GPU": share}) for n, share in enumerate(shares)]
        replicas = [demand for demand in demands for _ in range(demand.count)]
        outcomes = set(every_outcome(replicas, (10,) * gpus))
        packing = Packing(demands, rooms(1, GPU=gpus))
        assert (packing.is_possible(), packing.unlucky() is None) == (True in outcomes, outcomes == {True})
        seen.add(frozenset(outcomes))
    assert len(seen) == 3, "never, sometimes and always were all among them"


def test_too_much_to_look_at_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.runtime.serving.packing.MOST_STATES", 2)
    packing = Packing([gpu("a", 3, 0.3), gpu("b", 3, 0.4), gpu("c", 3, 0.2)], rooms(3, GPU=1))
    assert packing.is_possible()
    packing.unlucky()
    assert not packing.is_exact
