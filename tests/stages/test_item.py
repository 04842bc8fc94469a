"""The stage boundary."""

from __future__ import annotations

from acestep_flows.errors import InputError, StageError
from acestep_flows.stages.item import attempt


def test_a_result_passes() -> None:
    assert attempt("double", lambda x: 2 * x, 3) == 6


def test_our_errors_are_returned_as_they_are() -> None:
    error = InputError("bad")

    def fail() -> None:
        raise error

    assert attempt("double", fail) is error


def test_any_other_error_names_the_stage_and_the_cause() -> None:
    failed = attempt("double", lambda: 1 / 0)
    assert isinstance(failed, StageError)
    assert str(failed) == "double: ZeroDivisionError: division by zero"
