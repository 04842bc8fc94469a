from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from acestep_flows.errors import Cancelled
from acestep_flows.sampling.drive import drive
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.trajectory import Call, State
from tests.sampling.toy import TASKS, toy


def test_tells_of_every_step() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=5))
    steps: list[int] = []
    drive(trajectory, toy, lambda state: steps.append(state.step))
    assert steps == [1, 2, 3, 4, 5]


def test_stops_at_a_step_boundary_and_goes_on_from_there() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=5))
    kept: list[State] = []

    def stop(state: State) -> None:
        kept.append(state)
        if state.step == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        drive(trajectory, toy, stop)
    assert drive(trajectory, toy, state=kept[-1]).save() == drive(trajectory, toy).save()


def test_state_stays_in_float32() -> None:
    def half(calls: Sequence[Call]) -> list[Tensor]:
        return [velocity.bfloat16() for velocity in toy(calls)]

    assert drive(TASKS["text2music"](SamplerOptions(steps=2)), half).latents.dtype == torch.float32


def test_a_finished_song_asks_nothing() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=1))
    last = drive(trajectory, toy)
    assert drive(trajectory, lambda calls: pytest.fail("asked"), state=last) is last
