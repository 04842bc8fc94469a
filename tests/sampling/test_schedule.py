from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import (
    even_schedule,
    named_steps,
    picked_schedule,
    reduced_steps,
    schedule_of,
    shift,
    skipped_steps,
    training_sigmas,
)


def test_shift_keeps_the_ends_and_raises_the_middle() -> None:
    assert shift(0.0) == 0.0
    assert shift(1.0) == 1.0
    assert shift(0.5) == 0.75


def test_check_values_of_the_specification() -> None:
    assert even_schedule(5).timesteps == pytest.approx([1000, 900.3591, 751.1211, 502.9850, 8.9286], abs=1e-4)
    sixty = even_schedule(60).timesteps
    assert sixty[:3] == pytest.approx([1000, 994.3030, 988.4747], abs=1e-4)
    assert [sixty[15], sixty[44], sixty[45]] == pytest.approx([898.3268, 508.5530, 485.8995], abs=1e-4)
    assert sixty[-3:] == pytest.approx([102.8077, 57.3939, 8.9286], abs=1e-4)
    assert even_schedule(1).timesteps == (1000.0,)


def test_training_table_is_shifted_once() -> None:
    table = training_sigmas()
    assert len(table) == 1000
    assert table[-1] == np.float32(shift(0.001))
    assert float(training_sigmas(0.5)[0]) == 0.75


@given(steps=st.integers(1, 200), cap=st.floats(0.05, 1.0))
def test_schedules_fall_to_zero(steps: int, cap: float) -> None:
    schedule = even_schedule(steps, cap)
    assert schedule.steps == steps
    assert len(schedule.sigmas) == len(schedule.levels) == steps + 1
    assert schedule.sigmas[-1] == schedule.levels[-1] == 0.0
    assert all(a > b for a, b in zip(schedule.sigmas, schedule.sigmas[1:], strict=False))
    assert schedule.timesteps == tuple(float(np.float32(sigma) * np.float32(1000)) for sigma in schedule.sigmas[:-1])
    assert schedule.levels == pytest.approx(schedule.sigmas, rel=1e-6)


@given(steps=st.integers(1, 50))
def test_doubled_layout(steps: int) -> None:
    schedule = even_schedule(steps)
    doubled = schedule.doubled()
    assert len(doubled.timesteps) == 2 * steps - 1
    assert len(doubled.sigmas) == 2 * steps
    assert doubled.timesteps[0] == schedule.timesteps[0]
    assert doubled.timesteps[1::2] == doubled.timesteps[2::2] == schedule.timesteps[1:]
    assert (doubled.sigmas[0], doubled.sigmas[-1]) == (schedule.sigmas[0], 0.0)


def test_no_steps() -> None:
    assert even_schedule(0, 0.0).steps == 0
    assert even_schedule(0, 0.0).sigmas == (0.0,)


def test_picked_steps_are_taken_as_they_are() -> None:
    """Upstream shifts them a third time."""
    whole = even_schedule(12)
    picked = picked_schedule([2, 4, 12], "corrected")
    assert picked.timesteps == (whole.timesteps[1], whole.timesteps[3], whole.timesteps[11])
    assert picked.sigmas == (whole.sigmas[1], whole.sigmas[3], whole.sigmas[11], 0.0)
    assert picked_schedule([2, 4, 12], "upstream").timesteps > picked.timesteps


def test_picking_all_steps_changes_nothing() -> None:
    assert schedule_of(SamplerOptions(oss_steps=(1, 2, 3, 4, 5))) == even_schedule(5)


def test_shares_are_taken_of_the_steps_that_run() -> None:
    """Upstream takes them of the largest number in an OSS list."""
    options = {"oss_steps": (3, 9), "steps": 20}
    assert named_steps(SamplerOptions.model_validate(options), run=2) == 2
    assert named_steps(SamplerOptions.model_validate({**options, "compatibility": "upstream"}), run=2) == 9
    assert named_steps(SamplerOptions(compatibility="upstream"), run=60) == 60


def test_shares_are_truncated_in_floating_point() -> None:
    assert skipped_steps(50, 0.9) == 4
    assert skipped_steps(10, 1.0) == 0
    assert skipped_steps(10, 0.0) == 10
    assert reduced_steps(10, 1 - 0.9) == 0
    assert reduced_steps(12, 0.7) == 8
