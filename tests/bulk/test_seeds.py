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


@given(st.integers(0, MAX_SEED), st.integers(1, 20))
def test_a_retake_has_another_seed_whether_given_or_drawn(seed: int, retake: int) -> None:
    declared = scope().graph.inputs
    again = seeds.retaken({"tags": "x", "seed": seed}, declared, retake)
    assert again == {"tags": "x", "seed": seeds.following(seed, retake)}
    assert 0 <= again["seed"] <= MAX_SEED
    drawn = seeds.drawer(3, "a")("takes[2].seed")
    assert seeds.drawer(3, "a", retake)("takes[2].seed") == seeds.following(drawn, retake)
    assert seeds.retaken({"seed": seed}, declared, 0) == {"seed": seed}


def test_retakes_of_rows_with_seeds_in_sequence_are_songs_of_their_own() -> None:
    """The next number would be the song of the next row."""
    declared = scope().graph.inputs
    found = [seeds.retaken({"seed": seed}, declared, retake)["seed"] for seed in range(100) for retake in range(4)]
    assert len(set(found)) == 400


def test_lists_of_seeds_share_none_with_their_retake() -> None:
    declared = scope("batch-takes").graph.inputs
    retaken = seeds.retaken({"seeds": [1, 2, "random"]}, declared, 1)["seeds"]
    assert retaken == [seeds.following(1, 1), seeds.following(2, 1), "random"]
    assert not {1, 2} & set(retaken)
