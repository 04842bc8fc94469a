"""A share of the suite is run by one process, and no two Rays beside each other while there is anything else to do."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import pytest

from tests.workers import Shares, share, starts_ray

ROOT = Path(__file__).parents[1]
ASKS = re.compile(
    r"\bray_cluster\b|from tests\.served|train_ray import .*\btrain\b|training\.encode import .*\bencode\b"
)
"""What is in a file that starts a Ray."""


class Node:
    """A process that is told what to run."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def played(tests: list[str]) -> list[tuple[str, ...]]:
    """What two processes run beside each other, when every test takes as long as any other."""
    nodes = (Node(), Node())
    shares = Shares.__new__(Shares)
    shares.log = lambda *said: None
    shares.workqueue = OrderedDict()
    for test in tests:
        shares.workqueue.setdefault(share(test), {})[test] = False
    shares.assigned_work = {node: {} for node in nodes}
    shares.registered_collections = dict.fromkeys(nodes, tests)
    for node in (*nodes, *nodes):
        shares._reschedule(node)
    beside: list[tuple[str, ...]] = []
    while at := [(node, node.given.pop(0)) for node in nodes if node.given]:
        beside.append(tuple(tests[index] for _, index in at))
        for node, index in at:
            shares.mark_test_complete(node, index)
    return beside


RAY_TESTS = [
    f"tests/{file}.py::test_{n}" for file in ("served/test_a", "served/test_b", "bulk/test_page") for n in "12"
]
OTHERS = [f"tests/test_{file}.py::test_{n}" for file in "abc" for n in "1234"]


@pytest.mark.parametrize("others", [0, 4, 8, 12])
def test_two_rays_are_beside_each_other_only_at_the_end(others: int) -> None:
    tests = RAY_TESTS + OTHERS[:others]
    beside = played(tests)
    assert sorted(test for pair in beside for test in pair) == sorted(tests)
    rays = [len([test for test in pair if starts_ray(test)]) for pair in beside]
    others_at = [place for place, pair in enumerate(beside) if not all(map(starts_ray, pair))]
    assert all(count < 2 for count in rays[: max(others_at, default=0)])


def test_tests_with_a_fixture_in_common_are_one_share() -> None:
    assert share("tests/served/test_page.py::test_a") == share("tests/served/test_faults.py::test_b")
    assert share("tests/cli/test_main.py::test_a[x::y]") == share("tests/cli/test_main.py::test_b")
    assert share("tests/cli/test_main.py::test_a") != share("tests/cli/test_bulk.py::test_a")
    assert share("tests/training/data/test_encode.py::test_a") == share("tests/bulk/test_processes.py::test_b")


def test_whatever_starts_a_ray_is_known() -> None:
    files = (path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    asking = {path.relative_to(ROOT).as_posix() for path in files if ASKS.search(path.read_text())}
    assert len(asking) > 5
    assert {file for file in asking if not starts_ray(file)} == set()
