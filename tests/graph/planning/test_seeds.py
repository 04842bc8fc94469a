"""One seed fixes a run: the others follow from it, are told with the inputs, and can be given instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.bulk import seeds as bulk_seeds
from acestep_flows.errors import InputError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.planning.seeds import derived_seed
from acestep_flows.stages.registry import stages
from acestep_flows.values import MAX_SEED
from tests.graph.planning.test_layout import planned
from tests.graph.toys import SONG

TWO = """\
graph: two
version: 1
inputs:
  other: {type: seed, default: random}
  seed: {type: seed, default: random}
  more: {type: list of seed, default: [random, 5]}
nodes:
  a: {graph: song, with: {tags: a}}
  b: {graph: song, each: {seed: $more}, with: {tags: b, seed: $seed}}
  n: {stage: draw, with: {seed: $other}}
  m: {stage: draw, with: {seed: $seed}}
outputs: {a: $a.audio, b: $b.audio, n: $n.noise, m: $m.noise}
"""
TWO = TWO.replace(
    "each: {seed: $more}, with: {tags: b, seed: $seed}", "each: {one: $more}, with: {tags: b, seed: $one}"
)


def drawn() -> tuple[list[str], Any]:
    """A `draw` that counts up, and the places it was asked for."""
    asked: list[str] = []

    def draw(where: str) -> int:
        asked.append(where)
        return 100 + len(asked)

    return asked, draw


def test_one_draw_and_all_others_follow() -> None:
    asked, draw = drawn()
    found = planned(TWO, {}, draw, song=SONG).inputs
    assert asked == ["seed"]
    assert found == {
        "other": derived_seed(101, "other"),
        "seed": 101,
        "more": [derived_seed(101, "more[0]"), 5],
        "a.seed": derived_seed(101, "a.seed"),
    }
    assert len({found["other"], found["seed"], *found["more"], found["a.seed"]}) == 5


def test_a_given_seed_draws_nothing_and_is_the_same_run_every_time() -> None:
    asked, draw = drawn()
    first = planned(TWO, {"seed": 7}, draw, song=SONG)
    assert asked == []
    assert planned(TWO, {"seed": 7}, draw, song=SONG) == first
    assert planned(TWO, {"seed": 8}, draw, song=SONG).inputs.keys() == first.inputs.keys()
    assert all(planned(TWO, {"seed": 8}, draw, song=SONG).inputs[name] != seed for name, seed in first.inputs.items())


def test_seeds_that_are_given_stay() -> None:
    found = planned(TWO, {"seed": 7, "other": 1, "more": [2], "a.seed": 3}, song=SONG).inputs
    assert found == {"seed": 7, "other": 1, "more": [2], "a.seed": 3}


def test_a_plan_is_made_again_from_its_inputs() -> None:
    first = planned(TWO, {}, lambda where: 11, song=SONG)
    assert planned(TWO, first.inputs, lambda where: 12, song=SONG) == first


def test_without_a_seed_of_its_own_every_place_is_drawn() -> None:
    asked, draw = drawn()
    planned(TWO.replace("  seed: {", "  grain: {").replace("$seed}", "$grain}"), {}, draw, song=SONG)
    assert sorted(asked) == ["a.seed", "grain", "more[0]", "other"]


def test_a_seed_that_cannot_be_used_is_told_once() -> None:
    with pytest.raises(InputError, match=r"^seed: -1 \(allowed: 0 to \d+, or 'random'\)$"):
        planned(TWO, {"seed": -1}, song=SONG)


@given(st.integers(0, MAX_SEED), st.text(max_size=20))
def test_a_derived_seed_is_a_seed_and_never_the_one_it_follows_from(seed: int, where: str) -> None:
    found = derived_seed(seed, where)
    assert 0 <= found <= MAX_SEED
    assert found != seed
    assert found == derived_seed(seed, where)


def test_derived_seeds_stay_what_they_are() -> None:
    """Another rule would give another song for the same seed."""
    assert [derived_seed(3, "retake_seed"), derived_seed(7, "takes[2].seed")] == [3935850327, 1124368424]


def retake(inputs: dict[str, Any]) -> Plan:
    library = Library(working=None)
    scope = checked(library.load("retake"), stages(), library.nested)
    return lay_out(scope, {"tags": "pop", "duration": 1, **inputs})


def test_a_row_of_a_bulk_job_has_the_seeds_of_a_run() -> None:
    declared = Library(working=None).load("retake").inputs
    row: dict[str, Any] = {"tags": "pop", "duration": 1, "seed": 7}
    bulk_seeds.settle(row, declared, bulk_seeds.drawer(0, "a"))
    assert row["retake_seed"] == retake({"seed": 7}).inputs["retake_seed"]
    random: dict[str, Any] = {"tags": "pop", "duration": 1, "seed": "random"}
    bulk_seeds.settle(random, declared, bulk_seeds.drawer(0, "a"))
    assert random["seed"] == bulk_seeds.drawer(0, "a")("seed")
    assert random["retake_seed"] == retake({"seed": random["seed"]}).inputs["retake_seed"]
