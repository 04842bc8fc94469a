"""More than two channels become stereo by where their loudspeakers stand, and it is said."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio import read
from acestep_flows.audio.downmix import SPEAKERS, Downmix, of_mask
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, FloatArray, pack, unpack
from tests.audio.files import encoded, with_mask
from tests.audio.signals import RATE, noise

ROOT = 0.5**0.5

WAVE = {
    3: [(1, 0), (0, 1), (ROOT, ROOT)],
    4: [(1, 0), (0, 1), (ROOT, 0), (0, ROOT)],
    5: [(1, 0), (0, 1), (ROOT, ROOT), (ROOT, 0), (0, ROOT)],
    6: [(1, 0), (0, 1), (ROOT, ROOT), (0, 0), (ROOT, 0), (0, ROOT)],
    7: [(1, 0), (0, 1), (ROOT, ROOT), (0, 0), (0.5, 0.5), (ROOT, 0), (0, ROOT)],
    8: [(1, 0), (0, 1), (ROOT, ROOT), (0, 0), (ROOT, 0), (0, ROOT), (ROOT, 0), (0, ROOT)],
}
VORBIS = {
    3: [(1, 0), (ROOT, ROOT), (0, 1)],
    5: [(1, 0), (ROOT, ROOT), (0, 1), (ROOT, 0), (0, ROOT)],
    6: [(1, 0), (ROOT, ROOT), (0, 1), (ROOT, 0), (0, ROOT), (0, 0)],
    8: [(1, 0), (ROOT, ROOT), (0, 1), (ROOT, 0), (0, ROOT), (ROOT, 0), (0, ROOT), (0, 0)],
}


def mixed(samples: FloatArray, gains: list[tuple[float, float]]) -> FloatArray:
    return np.array(gains, np.float32).T @ samples


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_24"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24"),
                                                    ("CAF", "PCM_24"), ("W64", "PCM_24")])  # fmt: skip
@pytest.mark.parametrize("channels", WAVE)
def test_channels_in_the_order_of_wav(container: str, subtype: str, channels: int) -> None:
    samples = noise(channels, 40_000)
    audio = read.audio(encoded(samples, container, subtype))
    np.testing.assert_allclose(audio.samples, mixed(samples, WAVE[channels]), atol=1e-6)
    assert audio.notes[0].startswith(f"{channels} channels (FL FR")
    assert ("low-frequency" in audio.notes[0]) == (channels > 5)


@pytest.mark.parametrize("channels", VORBIS)
def test_channels_in_the_order_of_vorbis(channels: int) -> None:
    tones = [0.1 * np.sin(2 * np.pi * 110 * (tone + 1) * np.arange(RATE) / RATE) for tone in range(channels)]
    samples = np.array(tones, np.float32)
    audio = read.audio(encoded(samples, "OGG", "VORBIS"))
    np.testing.assert_allclose(audio.samples, mixed(samples, VORBIS[channels]), atol=0.05)


def test_a_channel_mask_says_the_places() -> None:
    samples = noise(4, 1_000)
    audio = read.audio(with_mask(samples, 0b111 | 1 << 8))  # L C R and one in the back
    np.testing.assert_allclose(audio.samples, mixed(samples, [(1, 0), (0, 1), (ROOT, ROOT), (0.5, 0.5)]), atol=1e-4)
    assert audio.notes == ("4 channels (FL FR FC BC) are mixed down to stereo",)


@pytest.mark.parametrize("mask", [0, 0b111, 1 << 31 | 0b11111])
def test_a_mask_that_does_not_fit_is_not_believed(mask: int) -> None:
    samples = noise(6, 1_000)
    np.testing.assert_allclose(read.audio(with_mask(samples, mask)).samples, mixed(samples, WAVE[6]), atol=1e-4)


def test_channels_without_places_are_all_heard() -> None:
    samples = noise(30, 1_000)
    audio = read.audio(encoded(samples, "WAV", "FLOAT"))
    np.testing.assert_allclose(audio.samples, [samples.mean(axis=0)] * 2, atol=1e-6)
    assert audio.notes == ("30 channels of unknown places: their mean is used on both sides",)


@pytest.mark.parametrize("channels", [1, 2])
def test_mono_and_stereo_stay_as_they_are(channels: int) -> None:
    block = noise(100, channels)
    downmix = Downmix(channels, (), "wav")
    assert downmix(block) is block
    assert downmix.notes == read.audio(with_mask(block.T, 0b11)).notes == ()


def test_every_speaker_but_that_of_effects_is_heard() -> None:
    assert {name for name, gains in SPEAKERS.items() if not any(gains)} == {"LFE"}
    assert of_mask(0x3F, 6) == ("FL", "FR", "FC", "LFE", "BL", "BR")


def test_notes_change_a_digest_only_where_there_are_some() -> None:
    plain = Audio(noise(2, 100), RATE)
    noted = Audio(plain.samples, RATE, ("changed",))
    assert "notes" not in pack(plain)[1]
    assert plain.digest != noted.digest
    for audio in (plain, noted):
        back = unpack("audio", *pack(audio))
        assert back == audio
        assert isinstance(back, Audio)
        assert back.notes == audio.notes


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_mixing_that_is_not_finite_is_refused(value: float) -> None:
    samples = noise(6, 100)
    samples[:, 50] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        read.audio(encoded(samples, "WAV", "FLOAT"))
