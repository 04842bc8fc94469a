"""An output that a run does not have."""

from __future__ import annotations

import pytest

from acestep_flows.wording.missing_output import no_output


@pytest.mark.parametrize(
    ("outputs", "state", "reason", "said"),
    [
        (["audio", "latents"], "succeeded", "", "'audoi', nearest 'audio'; there are: audio, latents"),
        ([], "running", "", "'audoi'; there are: none, it is running"),
        ([], "cancelled", "the run was cancelled", "'audoi'; there are: none, it was cancelled"),
        ([], "failed", "out of memory", "'audoi'; there are: none, it failed: out of memory"),
        ([], "failed", "", "'audoi'; there are: none, it failed"),
    ],
)
def test_the_state_of_the_run_or_the_nearest_name_is_told(
    outputs: list[str], state: str, reason: str, said: str
) -> None:
    error = no_output("run-1", "audoi", outputs, state, reason)
    assert str(error) == f"run run-1 has no output {said}"
    assert (error.field, error.allowed) == ("name", ", ".join(outputs) or "none")
    given = no_output("run-1", "audoi", outputs, state, reason, where="source")
    assert str(given) == f"source: run run-1 has no output {said}"
    assert given.field == "source"


def test_many_outputs_are_all_allowed() -> None:
    takes = [f"takes.{number:02}" for number in range(40)]
    error = no_output("run-1", "x", takes, "succeeded")
    assert str(error).endswith("takes.23, and 16 more")
    assert error.allowed.split(", ") == takes
