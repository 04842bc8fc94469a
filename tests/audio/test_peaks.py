"""Peaks for drawing."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio.peaks import peaks
from acestep_flows.values import Audio


def test_each_stretch_has_its_extremes() -> None:
    samples = np.zeros((2, 44_100), np.float32)
    samples[0, 100], samples[1, 44_099] = 1.5, -0.5
    drawn = peaks(Audio(samples, 44_100), 50)
    assert drawn.shape == (50, 2)
    assert drawn.dtype == np.dtype("int8")
    assert drawn[0].tolist() == [0, 127]
    assert drawn[49].tolist() == [-64, 0]
    assert not drawn[1:49].any()


@pytest.mark.parametrize(("samples", "rate", "per_second"), [
    (1, 48_000, 50), (959, 48_000, 50), (960, 48_000, 50), (961, 48_000, 50), (44_583, 44_100, 7), (100, 1_000, 200),
    (22_051, 22_050, 200), (1_000_003, 44_100, 33),
])  # fmt: skip
def test_no_sample_is_lost_or_counted_twice(samples: int, rate: int, per_second: int) -> None:
    noise = np.random.default_rng(samples).uniform(-1, 1, (1, samples)).astype(np.float32)
    drawn = peaks(Audio(noise, rate), per_second)
    assert len(drawn) == -(-samples * per_second // rate)
    for at in range(len(drawn)):
        part = noise[0, at * rate // per_second : (at + 1) * rate // per_second]
        assert drawn[at].tolist() == [round(float(part.min()) * 127), round(float(part.max()) * 127)]


def test_there_are_never_more_stretches_than_samples() -> None:
    assert peaks(Audio(np.ones((1, 30), np.float32), 1_000), 200).shape == (6, 2)
    assert peaks(Audio(np.ones((1, 3), np.float32), 1_000), 5_000).shape == (3, 2)
