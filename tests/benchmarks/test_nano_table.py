"""The arithmetic of nano's table: own and shuffled targets, aims, and markdown."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nano.table import HEADINGS, Score, markdown, right_and_shuffled


def same(estimate: int, target: int) -> float:
    return float(estimate == target)


@given(st.integers(4, 60))
def test_a_perfect_model_has_no_agreement_with_shuffled_targets(count: int) -> None:
    clips = list(range(count))
    assert right_and_shuffled(clips, clips, same) == (1.0, 0.0)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40))
def test_a_constant_model_agrees_equally_with_shuffled_targets(targets: list[int]) -> None:
    own, shuffled = right_and_shuffled([2] * len(targets), targets, same)
    assert own == pytest.approx(targets.count(2) / len(targets))
    assert shuffled == pytest.approx(own)


def test_too_few_clips_are_not_shuffled() -> None:
    assert right_and_shuffled([], [], same) == (None, None)
    own, shuffled = right_and_shuffled([1, 2, 3], [1, 0, 3], same)
    assert own == pytest.approx(2 / 3)
    assert shuffled is None
    with pytest.raises(ValueError, match="shorter"):
        right_and_shuffled([1, 2, 3, 4, 5], [1, 2, 3, 4], same)


@pytest.mark.parametrize(
    ("generated", "aim", "reached"),
    [
        (0.85, (">=", 0.85), True),
        (0.8499, (">=", 0.85), False),
        (0.25, ("<=", 0.25), True),
        (0.2501, ("<=", 0.25), False),
        (math.nan, (">=", 0.5), False),
        (math.nan, ("<=", 0.5), False),
        (None, (">=", 0.5), None),
        (0.9, None, None),
    ],
)
def test_an_aim_is_met_missed_or_absent(
    generated: float | None, aim: tuple[str, float] | None, reached: bool | None
) -> None:
    score = Score("style", generated, aim=aim)
    assert score.reached is reached
    assert score.entry()["reached"] is reached


def test_the_table_has_all_scores_and_notes() -> None:
    scores = [
        Score("style recognised", 0.9, 0.12, 0.95, 0.1, 0.93, aim=(">=", 0.85), clips=40),
        Score("drums", 12.34, real=20.0, aim=(">=", 4.0)),
        Score("melody kept", 0.5, note="against a retake"),
        Score("decoder", 0.3, aim=("<=", 0.25)),
    ]
    head, rule, *lines = markdown(scores).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert [cell.strip() for cell in head.strip("|").split("|")] == list(HEADINGS)
    assert rule.count("---") == len(HEADINGS)
    assert cells[0] == ["style recognised", ">= 0.85", "0.900", "0.120", "0.950", "0.100", "0.930", "yes"]
    assert cells[1] == ["drums", ">= 4", "12.3", "", "20.0", "", "", "yes"]
    assert cells[2] == ["melody kept", "stated", "0.500", "", "", "", "", ""]
    assert cells[3][-1] == "no"
    assert lines[4:] == ["", "- melody kept: against a retake"]
    assert json.loads(json.dumps([score.entry() for score in scores]))[1]["aim"] == [">=", 4.0]
