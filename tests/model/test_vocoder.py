"""The vocoder, compared with a plain reference; its overlapped decode and the memory of that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.model import vocoder as module
from acestep_flows.model.layout import VOCODER
from acestep_flows.model.placement import Placement
from acestep_flows.model.vocoder import BLOCK_FRAMES, Vocoder
from acestep_flows.values import MEL_HOP, Compatibility, FloatArray
from tests.model.live_memory import LivePeak
from tests.model.plain_vocoder import PlainVocoder
from tests.model.small import small_checkpoint

MODES: list[Compatibility] = ["corrected", "upstream"]


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return Vocoder.load(small_checkpoint(), Placement())


def log_mel(frames: int, seed: int = 0) -> FloatArray:
    """Noise in the range of a log-mel: (2, 128, frames)."""
    return np.random.default_rng(seed).normal(-4, 2, (2, 128, frames)).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_it_equals_the_plain_reference(vocoder: Vocoder, frames: int) -> None:
    plain = PlainVocoder(small_checkpoint().config(VOCODER))
    tensors = small_checkpoint().load(VOCODER)
    # Layer scales and norms far from one, so that a forgotten one shows.
    tensors = {name: tensor * 3 if tensor.ndim == 1 else tensor for name, tensor in tensors.items()}
    report = plain.load_state_dict(tensors, strict=False)
    assert not report.missing_keys
    assert all(name.startswith("mel_transform.") for name in report.unexpected_keys)
    ours = Vocoder(small_checkpoint().config(VOCODER), tensors)
    with torch.inference_mode():
        mel = torch.from_numpy(log_mel(frames))
        torch.testing.assert_close(ours(mel), plain(mel), atol=2e-5, rtol=0)


def test_bfloat16_stays_near_float32(vocoder: Vocoder) -> None:
    rounded = Vocoder.load(small_checkpoint(), Placement(dtype="bfloat16"))
    exact, approximate = vocoder.decode(log_mel(40)), rounded.decode(log_mel(40))
    assert approximate.dtype == np.float32
    assert 0 < np.sqrt(np.mean((approximate - exact) ** 2)) < 0.05 * exact.std()


def test_the_channels_are_independent(vocoder: Vocoder) -> None:
    mel = log_mel(24)
    both, other = vocoder.decode(mel), vocoder.decode(np.stack([mel[0], log_mel(24, seed=1)[1]]))
    np.testing.assert_allclose(both[0], other[0], atol=1e-6)
    assert np.abs(both[1] - other[1]).max() > 0.01


@pytest.mark.parametrize("overlap", [False, True])
def test_no_frames_give_no_samples(vocoder: Vocoder, overlap: bool) -> None:
    assert vocoder.decode(log_mel(0), overlap=overlap).shape == (2, 0)


class Ruler(Vocoder):
    """A vocoder without a network: its log-mel holds frame numbers, its waveform sample numbers."""

    def __init__(self) -> None:
        self.hop = MEL_HOP
        self.longest = 0

    def _decode(self, log_mel: FloatArray) -> FloatArray:
        self.longest = max(self.longest, log_mel.shape[-1])
        samples = log_mel[:, 0, :1].astype(np.float64) * MEL_HOP + np.arange(log_mel.shape[-1] * MEL_HOP)
        return samples.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.one_of(st.integers(1, 3000), st.integers(505, 516), st.integers(1013, 1024)), mode=st.sampled_from(MODES)
)
def test_the_blocks_of_an_overlapped_decode_fit_without_gap_or_shift(frames: int, mode: Compatibility) -> None:
    ruler = Ruler()
    waveform = ruler.decode(
        np.broadcast_to(np.arange(frames, dtype=np.float32), (2, 128, frames)), overlap=True, compatibility=mode
    )
    assert waveform.shape == (2, frames * MEL_HOP)
    assert ruler.longest <= BLOCK_FRAMES
    np.testing.assert_allclose(waveform[1], np.arange(frames * MEL_HOP), atol=0.25)


@pytest.mark.parametrize("frames", [0, 3, 512, 1100])
def test_parts_are_the_decode_cut(vocoder: Vocoder, frames: int) -> None:
    for overlap in (False, True):
        parts = list(vocoder.parts(log_mel(frames), overlap=overlap))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), vocoder.decode(log_mel(frames), overlap=overlap))
        assert len(parts) == 1 or max(part.shape[1] for part in parts) <= BLOCK_FRAMES * MEL_HOP


@pytest.mark.parametrize("frames", [40, 509, 530])
def test_corrected_overlapped_decode_equals_the_undivided(vocoder: Vocoder, frames: int) -> None:
    # The network's receptive field exceeds the two frames of overlap, so blocks differ near seams.
    mel = log_mel(frames)
    whole, blocks = vocoder.decode(mel), vocoder.decode(mel, overlap=True)
    if frames <= BLOCK_FRAMES - 2:
        np.testing.assert_array_equal(whole, blocks)
    quiet = slice(0, 400 * MEL_HOP)
    np.testing.assert_allclose(whole[:, quiet], blocks[:, quiet], atol=1e-5)


def test_upstream_zero_padding_smears_into_the_end(vocoder: Vocoder) -> None:
    mel = log_mel(40)
    corrected, upstream = (vocoder.decode(mel, overlap=True, compatibility=mode) for mode in MODES)
    assert corrected.shape == upstream.shape
    assert np.abs(corrected - upstream)[:, -MEL_HOP:].max() > 1e-3


def test_memory_of_an_overlapped_decode_does_not_grow_with_the_song(vocoder: Vocoder) -> None:
    def peak(frames: int, overlap: bool) -> int:
        memory = LivePeak()
        with memory:
            vocoder.decode(log_mel(frames), overlap=overlap)
        return memory.peak

    in_blocks = peak(1100, overlap=True)
    assert peak(2100, overlap=True) <= 1.001 * in_blocks
    assert peak(1100, overlap=False) > 1.9 * in_blocks


@pytest.mark.parametrize("mode", MODES)
def test_blocks_at_once_and_unfolded_are_as_one_by_one(
    vocoder: Vocoder, monkeypatch: pytest.MonkeyPatch, mode: Compatibility
) -> None:
    """The way of other devices, tried on a CPU."""
    checkpoint = small_checkpoint()
    unfolded = Vocoder(checkpoint.config(VOCODER), checkpoint.load(VOCODER), folded=False).eval()
    monkeypatch.setattr(module, "ON_PROCESSORS", ())
    monkeypatch.setattr(module, "TOGETHER", 6)
    song, other = log_mel(2300), log_mel(2300, seed=1)
    at_once = unfolded.decode(np.concatenate([song, other]), overlap=True, compatibility=mode)
    monkeypatch.undo()
    apart = [vocoder.decode(mel, overlap=True, compatibility=mode) for mel in (song, other)]
    np.testing.assert_allclose(at_once, np.concatenate(apart), atol=1e-5)
