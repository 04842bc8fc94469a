from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from tests.stages.material import tone
from tests.stages.running import run


def test_stems_add_up(small: Checkpoint) -> None:
    low, high = tone(1.0, 110), tone(0.5, 440)
    mixed = run("mix", small, {"ceiling": None}, stems=[low, high]).audio
    expected = low.samples.copy()
    expected[:, : high.samples.shape[1]] += high.samples
    np.testing.assert_allclose(mixed.samples, expected, atol=1e-6)


def test_settings_apply_to_their_own_stem(small: Checkpoint) -> None:
    params = {"tracks": [{"gain": -120.0}, {"offset": 0.5}], "ceiling": None}
    mixed = run("mix", small, params, stems=[tone(1.0), tone(1.0)]).audio
    assert mixed.seconds == pytest.approx(1.5)
    assert np.abs(mixed.samples[:, :20_000]).max() < 1e-5


def test_settings_for_each_stem_or_for_none(small: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"mix.tracks: 1 for 2 stems \(allowed: one per stem\)"):
        run("mix", small, {"tracks": [{}]}, stems=[tone(1.0), tone(1.0)])


def test_no_stems(small: Checkpoint) -> None:
    with pytest.raises(InputError, match="no tracks"):
        run("mix", small, {}, stems=[])
