"""Tempo and key, held against values that librosa 0.11.0 computed (`librosa-0.11.0.npz`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acestep_flows.audio import musical
from acestep_flows.audio.mel_scale import mel_filters, mel_frequencies
from acestep_flows.audio.resample import mono, resample
from acestep_flows.values import Audio
from tests.audio.signals import RATE, chords, clicks, noise, noisy, silence

STORED = np.load(Path(__file__).with_name("librosa-0.11.0.npz"))
"""For each signal: onset strengths, pitch classes, and what `tempo` and `key` answered when librosa did the work."""


def band() -> Audio:
    """Chords, a beat and some noise together, in stereo."""
    tune, beat = chords(9, 14, 16, 9, third=3).samples[0], clicks(104, 12).samples[0]
    return Audio(np.stack([tune, tune * np.float32(0.5)]) + beat + noise(2, len(tune), seed=3, level=0.01), RATE)


def loud_then_soft() -> Audio:
    """A beat that is 80 dB softer in its second half, where the range of decibels cuts it off."""
    beat = clicks(128.5, 16, rate=44_100).samples.copy()
    beat[:, beat.shape[1] // 2 :] *= np.float32(1e-4)
    return Audio(beat, 44_100)


SIGNALS = {
    "clicks": clicks(97, 16),
    "fast clicks": clicks(173, 9.3, rate=44_100),
    "loud then soft": loud_then_soft(),
    "chords": chords(0, 5, 7, 0, third=4),
    "band": band(),
    "noise": noisy(10),
    "short": noisy(0.2, seed=1),
    "low rate": noisy(5, rate=8_000, seed=2),
    "silence": silence(5),
}


def samples(name: str) -> Audio:
    """A signal at the rate of analysis, through the filter that was in use when librosa's values were stored."""
    signal = SIGNALS[name]
    return mono(Audio(resample(signal.samples, signal.sample_rate, musical.RATE), musical.RATE))


@pytest.mark.parametrize("name", SIGNALS)
def test_onset_strengths_are_librosas(name: str) -> None:
    expected = STORED[f"{name}/onsets"]
    found = musical.onset_strengths(samples(name))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * max(1.0, float(expected.max())))


@pytest.mark.parametrize("name", SIGNALS)
def test_pitch_classes_are_librosas(name: str) -> None:
    expected = STORED[f"{name}/pitch_classes"]
    found = musical.pitch_classes(samples(name))
    np.testing.assert_allclose(found / max(expected.max(), 1e-30), expected / max(expected.max(), 1e-30), atol=1e-5)


@pytest.mark.parametrize("name", SIGNALS)
def test_tempo_and_key_are_what_they_were_with_librosa(name: str) -> None:
    tempo, key = STORED[f"{name}/tempo"], STORED[f"{name}/key"]
    if not len(tempo):
        assert musical.tempo(samples(name)) is None
    else:
        # Of the confidence, 0..1, the last digits depend on the processor.
        assert musical.tempo(samples(name)) == pytest.approx(tempo, rel=1e-5, abs=1e-5)
    found = musical.key(samples(name))
    assert (found is None) == (not len(key))
    if found is not None:
        assert found[0] == key[0]
        assert found[1] == pytest.approx(float(key[1]), abs=1e-5)


@pytest.mark.parametrize(
    ("rate", "size", "bands", "low", "high"),
    [(22_050, 2048, 128, 0, 11_025), (44_100, 2048, 128, 40, 15_876), (16_000, 512, 40, 40, 5_760)],
)
def test_the_mel_filters_are_librosas(rate: int, size: int, bands: int, low: float, high: float) -> None:
    found = mel_filters(size // 2 + 1, bands, rate, low, high)
    np.testing.assert_allclose(found, STORED[f"mel/{rate}"].T, atol=1e-7)


def test_the_mel_frequencies_are_librosas() -> None:
    np.testing.assert_allclose(mel_frequencies(130, 40, 16_000), STORED["mel_frequencies"], rtol=1e-12)
