from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.stages.pick_best import Pick
from acestep_flows.values import Report
from tests.stages.material import latents

TAKES = [latents(2, seed) for seed in range(4)]


def pick(measured: list[dict[str, Any]], **params: Any) -> Pick.Out:
    item = Pick.In(TAKES[: len(measured)], [Report(entries) for entries in measured])
    (out,) = Pick().run([item], [Pick.Params(**params)])
    if not isinstance(out, Pick.Out):
        raise out
    return out


@given(st.lists(st.floats(-60, 0), min_size=1, max_size=4))
def test_the_highest_and_the_lowest(values: list[float]) -> None:
    measured = [{"level": value} for value in values]
    assert pick(measured, by="level").index == values.index(max(values))
    assert pick(measured, by="level", prefer="lowest").index == values.index(min(values))


def test_the_take_is_the_one_at_the_index() -> None:
    out = pick([{"tempo": 90}, {"tempo": 121}, {"tempo": 150}], by="tempo", prefer="nearest", target=120)
    assert out.index == 1
    assert out.latents == TAKES[1]
    assert out.report.entries["measurements"] == {"tempo": 121}


def test_a_broken_bound_counts_more_than_the_preference() -> None:
    measured = [{"level": -3, "silence": 0.9}, {"level": -20, "silence": 0.1}]
    assert pick(measured, by="level", bounds=[{"measurement": "silence", "maximum": 0.5}]).index == 1


def test_no_answer_comes_last() -> None:
    assert pick([{"tempo": None}, {"tempo": 1.0}], by="tempo").index == 1
    assert pick([{"tempo": None}, {"tempo": None}], by="tempo").index == 0


def test_the_report_says_which_take_won_by_seed_and_measure() -> None:
    entries = pick([{"fit": 0.5}, {"fit": 0.75}], by="fit", seeds=[7, 9]).report.entries
    assert (entries["picked"], entries["seed"], entries["by"], entries["value"]) == (1, 9, "fit", 0.75)
    assert [take["seed"] for take in entries["takes"]] == [7, 9]


def test_without_seeds_neither_report_nor_cache_key_change() -> None:
    assert pick([{"fit": 0.5}], by="fit").report.entries == {
        "picked": 0,
        "takes": [{"broken_bounds": 0, "fit": 0.5}],
        "measurements": {"fit": 0.5},
    }
    assert "seeds" not in Pick.Params(by="fit").key_content()


@pytest.mark.parametrize(
    ("measured", "params", "message"),
    [
        ([], {}, "0 takes and 0 reports"),
        ([{"level": 1}], {"by": "lvel"}, r"no measurement 'lvel' \(allowed: level\)"),
        ([{"level": "loud"}], {"by": "level"}, "level is 'loud'"),
        ([{"level": 1}], {"by": "level", "prefer": "nearest"}, "a target, only with nearest"),
        ([{"level": 1}], {"by": "level", "seeds": [1, 2]}, "2 seeds and 1 takes"),
        ([{"level": 1}], {"by": "level", "target": 3}, "a target, only with nearest"),
    ],
)
def test_what_cannot_be_picked(measured: list[dict[str, Any]], params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pick(measured, **params)
