from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio.loudness import integrated
from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import Audio
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


def bursts(seconds: int = 4) -> Audio:
    """A soft tone with a loud burst each second: a limiter takes loudness away."""
    random, position = np.random.default_rng(0), np.arange(seconds * 48_000) % 48_000
    samples = tone(seconds).samples * 0.4 + 0.5 * random.standard_normal((2, len(position))) * (position < 3_000)
    return Audio(samples.astype(np.float32), 48_000)


def test_the_loudness_asked_is_reached_and_reported(small: Checkpoint) -> None:
    out = run("mix", small, {"loudness": -14}, stems=[bursts()])
    entries = out.report.entries
    assert entries["loudness_lufs"] == pytest.approx(-14, abs=0.1)
    assert entries["loudness_lufs"] == pytest.approx(integrated(out.audio))
    assert entries["true_peak_dbtp"] <= -1
    assert (entries["loudness_asked"], entries["warnings"]) == (-14, [])


def test_a_loudness_out_of_reach_is_a_warning(small: Checkpoint) -> None:
    entries = run("mix", small, {"loudness": -1}, stems=[bursts()]).report.entries
    made = entries["loudness_lufs"]
    assert entries["warnings"] == [f"the mix has {made:.1f} LUFS of the -1 asked under a ceiling of -1 dBTP"]
    silent = run("mix", small, {"loudness": -14}, stems=[Audio(np.zeros((2, 48_000), np.float32), 48_000)])
    assert silent.report.entries["warnings"] == ["the mix is silent or shorter than 0.4 s, so -14 LUFS have no meaning"]
