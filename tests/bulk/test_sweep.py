from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acestep_flows.bulk.job import Sweep
from acestep_flows.bulk.sweep import combinations, parse_sweep
from acestep_flows.errors import InputError
from tests.bulk.manifests import scope

INPUTS = scope().graph.inputs


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=0..3", (0, 1, 2, 3)),
        ("seed = 5 .. 5", (5,)),
        ("seed=3,1,2", (3, 1, 2)),
        ("duration=5,7.5", (5.0, 7.5)),
        ("duration=5..7", (5.0, 6.0, 7.0)),
        ("duration=0:05,20s", (5.0, 20.0)),
        ("solver=euler, heun", ("euler", "heun")),
        ('tags=["funk, slow", "@soul"]', ("funk, slow", "@soul")),
        ("steps=[10, 20]", (10, 20)),
    ],
)
def test_sweeps_are_read(text: str, values: tuple[Any, ...]) -> None:
    name = text.partition("=")[0].strip()
    assert parse_sweep(text, INPUTS) == Sweep(name, values)


def test_a_file_has_a_value_on_each_line(tmp_path: Path) -> None:
    path = tmp_path / "styles.txt"
    path.write_text("city pop, 90s\r\n\n  @funk \n夜\n", encoding="utf-8-sig")
    assert parse_sweep(f"tags=@{path}", INPUTS).values == ("city pop, 90s", "@funk", "夜")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "such as"),
        ("=1..2", "such as"),
        ("seed=", "such as"),
        ("sead=0..3", "nearest 'seed'"),
        ("seed=3..1", "rising range"),
        ("seed=0..9999999999", "rising range"),
        ("seed=-2..2", "value 1"),
        ("seed=1,2,x", "not a number"),
        ("seed=1,1", "1 twice"),
        ("seed=,", "no values"),
        ("tags=[]", "no values"),
        ("tags=[1]", "value 1"),
        ("tags=[", "not JSON"),
        ('tags=[{"a": 1, "a": 2}]', "'a' is given twice"),
        ("tags=funk, soul", "JSON list"),
        ("steps=0..10", "value 1"),
        ("solver=euler,fast", "value 2"),
        ("tags=@absent.txt", "cannot read"),
        ('duration=["random"]', "value 1"),
    ],
)
def test_sweeps_that_say_nothing_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match="--sweep") as caught:
        parse_sweep(text, INPUTS)
    assert words in str(caught.value)


def test_the_last_sweep_changes_fastest() -> None:
    sweeps = [Sweep("seed", (1, 2)), Sweep("solver", ("euler", "heun"))]
    found = [(part["seed"], part["solver"]) for part in combinations(sweeps)]
    assert found == [(1, "euler"), (1, "heun"), (2, "euler"), (2, "heun")]
    assert list(combinations([])) == [{}]
