"""The stage boundary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import FlowsError, InputError, StageError
from acestep_flows.stages.batching import ItemStage, group_by_length, run_groups, run_item
from acestep_flows.stages.contract import Watch


def test_a_result_passes() -> None:
    assert run_item("double", lambda x: 2 * x, 3) == 6


def test_our_errors_are_returned_as_they_are() -> None:
    error = InputError("bad")

    def fail() -> None:
        raise error

    assert run_item("double", fail) is error


def test_any_other_error_names_the_stage_and_the_cause() -> None:
    failed = run_item("double", lambda: 1 / 0)
    assert isinstance(failed, StageError)
    assert str(failed) == "double: ZeroDivisionError: division by zero"


class Passes(Watch):
    def __init__(self) -> None:
        self.made: list[int] = []

    def forward_pass(self, items: int) -> None:
        self.made.append(items)


class Halve(ItemStage):
    name = "halve"

    def run_one(self, item: int, params: int) -> float:
        return item / params


def test_items_run_one_by_one_and_a_failing_one_harms_no_other() -> None:
    first, failed, last = Halve().run([4, 4, 9], [2, 0, 3])
    assert (first, last) == (2, 3)
    assert isinstance(failed, StageError)
    assert str(failed) == "halve: ZeroDivisionError: division by zero"


@given(st.lists(st.integers(-5, 20), max_size=12))
def test_groups_are_of_one_kind_and_outputs_in_order(numbers: list[int]) -> None:
    error, passes = InputError("bad"), Passes()

    def double(group: list[int]) -> list[int]:
        assert len({number % 3 for number in group}) == 1
        if min(group) < 0:
            raise ValueError("too small")
        return [2 * number for number in group]

    items: list[int | FlowsError] = [error if number == 20 else number for number in numbers]
    outs = run_groups("double", double, items, lambda number: number % 3, passes)
    assert len(outs) == len(numbers)
    for number, out in zip(numbers, outs, strict=True):
        if number == 20:
            assert out is error
        elif number < 0:
            assert isinstance(out, StageError)
        else:
            assert out == 2 * number
    assert sum(passes.made) == sum(0 <= number < 20 for number in numbers)


@given(st.lists(st.integers(1, 300), max_size=30), st.integers(1, 1000))
def test_what_is_padded_together_is_alike_and_within_bounds(sizes: list[int], padded: int) -> None:
    numbers = group_by_length(sizes, padded)
    assert len(numbers) == len(sizes)
    for number in set(numbers):
        group = [size for size, its in zip(sizes, numbers, strict=True) if its == number]
        assert max(group) <= 1.5 * min(group)
        assert len(group) == 1 or max(group) * len(group) <= padded
    if sizes and padded >= 300 * 30:
        assert len(set(group_by_length([7] * len(sizes), padded))) == 1
