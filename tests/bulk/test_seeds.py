from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.bulk import seeds
from acestep_flows.values import MAX_SEED
from tests.bulk.manifests import scope


def test_draws_follow_job_row_and_place() -> None:
    draw = seeds.drawer(0, "a")
    assert draw("seed") == seeds.drawer(0, "a")("seed")
    others = {draw("seed"), draw("retake_seed"), seeds.drawer(1, "a")("seed"), seeds.drawer(0, "b")("seed")}
    assert len(others) == 4
    assert all(0 <= seed <= MAX_SEED for seed in others)


@pytest.mark.parametrize("given", [{}, {"seed": "random"}])
def test_random_seeds_are_settled_and_others_kept(given: dict[str, Any]) -> None:
    declared = scope().graph.inputs
    inputs = {"tags": "funk", **given}
    seeds.settle(inputs, declared, seeds.drawer(0, "a"))
    assert inputs == {"tags": "funk", "seed": seeds.drawer(0, "a")("seed")}
    kept = {"tags": "funk", "seed": 0}
    seeds.settle(kept, declared, seeds.drawer(0, "a"))
    assert kept["seed"] == 0


@pytest.mark.parametrize(
    ("graph", "name"),
    [("text2music", "seed"), ("retake", "retake_seed"), ("variation-in-span", "retake_seed"), ("batch-takes", "seeds"),
     ("decode", None)],
)  # fmt: skip
def test_the_seed_that_says_which_take(graph: str, name: str | None) -> None:
    assert seeds.take_input(scope(graph).graph.inputs) == name


@given(st.integers(0, MAX_SEED), st.integers(0, 20))
def test_a_retake_has_the_next_seed_whether_given_or_drawn(seed: int, retake: int) -> None:
    declared = scope().graph.inputs
    again = seeds.retaken({"tags": "x", "seed": seed}, declared, retake)
    assert again == {"tags": "x", "seed": (seed + retake) % 2**32}
    assert seeds.drawer(3, "a", retake)("takes[2].seed") == (seeds.drawer(3, "a")("takes[2].seed") + retake) % 2**32


def test_lists_of_seeds_share_none_with_their_retake() -> None:
    declared = scope("batch-takes").graph.inputs
    assert seeds.retaken({"seeds": [1, 2, "random"]}, declared, 1)["seeds"] == [4, 5, "random"]
