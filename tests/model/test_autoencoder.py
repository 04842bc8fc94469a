"""The autoencoder: edge cases, windows and their memory. Its numbers are checked in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.model import autoencoder as module
from acestep_flows.model.autoencoder import Autoencoder, decode_windows
from acestep_flows.model.placement import Placement
from acestep_flows.values import FloatArray
from tests.model.live_memory import LivePeak
from tests.model.small import small_checkpoint


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return Autoencoder.load(small_checkpoint(), Placement())


def latents(frames: int) -> FloatArray:
    return np.random.default_rng(0).standard_normal((8, 16, frames)).astype(np.float32)


def audio(samples: int) -> FloatArray:
    return np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (4096, 1), (4097, 2), (30_000, 8)])
def test_encoding_rounds_up_to_whole_frames(autoencoder: Autoencoder, samples: int, frames: int) -> None:
    encoded = autoencoder.encode(audio(samples))
    assert encoded.shape == (8, 16, frames)
    assert encoded.dtype == np.float32


def test_encoding_pads_with_silence(autoencoder: Autoencoder) -> None:
    padded = np.pad(audio(5000), ((0, 0), (0, 3192)))
    np.testing.assert_array_equal(autoencoder.encode(audio(5000)), autoencoder.encode(padded))


@pytest.mark.parametrize("shape", [(2, 0), (1, 4096), (3, 4096)])
def test_samples_that_are_not_stereo_are_refused(autoencoder: Autoencoder, shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="allowed: 2 x at least one sample"):
        autoencoder.encode(np.zeros(shape, np.float32))


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("frames", [0, 1, 2, 17])
def test_decoding_gives_eight_mel_frames_per_frame(autoencoder: Autoencoder, frames: int, overlap: bool) -> None:
    mel = autoencoder.decode(latents(frames), overlap=overlap)
    assert mel.shape == (2, 128, 8 * frames)
    assert np.isfinite(mel).all()


def test_up_to_one_window_the_overlapped_decode_equals_the_undivided(autoencoder: Autoencoder) -> None:
    song = latents(40)
    np.testing.assert_array_equal(autoencoder.decode(song), autoencoder.decode(song, overlap=True))


def test_windows_change_the_result_only_slightly(autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 64)
    monkeypatch.setattr(module, "HOP", 32)
    song = latents(200)
    whole, windows = autoencoder.decode(song), autoencoder.decode(song, overlap=True)
    error = np.abs(whole - windows).mean()
    assert 0 < error < 0.2 * np.abs(whole - whole.mean()).mean()


@given(frames=st.one_of(st.integers(0, 6000), st.integers(510, 514), st.integers(766, 770)))
def test_windows_cover_every_frame_once(frames: int) -> None:
    windows = list(decode_windows(frames))
    covered = [frame for _, _, keep_from, keep_to in windows for frame in range(keep_from, keep_to)]
    assert covered == list(range(frames))
    for start, end, keep_from, keep_to in windows:
        assert 0 < end - start <= 512
        assert keep_from - start >= (128 if start else 0)
        assert end - keep_to >= (128 if end < frames else 0)


def test_memory_of_an_overlapped_decode_does_not_grow_with_the_song(
    autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 64)
    monkeypatch.setattr(module, "HOP", 32)

    def peak(frames: int, overlap: bool) -> int:
        memory = LivePeak()
        with memory:
            autoencoder.decode(latents(frames), overlap=overlap)
        return memory.peak

    assert peak(320, overlap=True) <= 1.001 * peak(160, overlap=True)
    assert peak(320, overlap=False) > 1.9 * peak(160, overlap=False)


def test_a_half_that_was_not_loaded_cannot_be_used() -> None:
    decoder = Autoencoder.load(small_checkpoint(), Placement(), halves=("decoder",))
    assert decoder.decode(latents(2)).shape == (2, 128, 16)
    with pytest.raises(AssertionError, match="without the encoder"):
        decoder.encode(audio(4096))


def test_several_windows_of_several_songs_at_once_are_as_one_by_one(
    autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of other devices, tried on a CPU."""
    monkeypatch.setattr(module, "WINDOW", 64)
    monkeypatch.setattr(module, "HOP", 32)
    songs = [latents(120), latents(120)[:, ::-1].copy(), 0.5 * latents(120)]
    apart = [autoencoder.decode(song, overlap=True) for song in songs]
    elsewhere = Autoencoder.load(small_checkpoint(), Placement(), halves=("decoder",))
    passes: list[int] = []
    decode = elsewhere._decode

    def counted(cuts: Tensor) -> Tensor:
        passes.append(len(cuts))
        return decode(cuts)

    monkeypatch.setattr(elsewhere, "_decode", counted)
    monkeypatch.setattr(module, "ON_PROCESSORS", ())
    for want, got in zip(apart, elsewhere.decode_batch(songs, overlap=True), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
    assert sum(passes) == 3 * len(list(decode_windows(120)))
    assert max(passes) == module.TOGETHER


def test_memory_of_windows_at_once_grows_only_by_the_song_itself(
    autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 64)
    monkeypatch.setattr(module, "HOP", 32)
    monkeypatch.setattr(module, "ON_PROCESSORS", ())

    def peak(frames: int) -> int:
        memory = LivePeak()
        with memory:
            autoencoder.decode(latents(frames), overlap=True)
        return memory.peak

    song = 4 * 160 * (2 * 128 * 8 + 8 * 16)  # bytes of the mel and the latents of 160 frames
    assert peak(480) <= 1.001 * peak(320) + song
