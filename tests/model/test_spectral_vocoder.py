"""The spectral vocoder: it reproduces the mel and its pitches, and the same mel gives the same samples."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acestep_flows.errors import CheckpointError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import VOCODER, spectral_vocoder_layout
from acestep_flows.model.mel import FILTERS, WINDOW, LogMel, mel_filters
from acestep_flows.model.placement import Placement
from acestep_flows.model.spectral_vocoder import SpectralVocoder, invert_mel
from acestep_flows.model.vocoder import Vocoder, load_vocoder
from acestep_flows.training.loop.export_part import write_part
from acestep_flows.values import MODEL_RATE, FloatArray
from tests.model.live_memory import LivePeak
from tests.model.small import edit_json, small_folder

CONFIG: dict[str, Any] = {
    "_class_name": "SpectralVocoder",
    "width": 16,
    "blocks": 2,
    "iterations": 12,
    "sampling_rate": 44100,
    "n_fft": 2048,
    "win_length": 2048,
    "hop_length": 512,
    "f_min": 40,
    "f_max": 16000,
    "n_mels": 128,
}


@pytest.fixture(scope="module")
def transform() -> LogMel:
    return LogMel(torch.hann_window(2048), mel_filters(1025, 128, MODEL_RATE, 40, 16000), 512)


@pytest.fixture(scope="module")
def vocoder(transform: LogMel) -> SpectralVocoder:
    """A vocoder whose network corrects nothing, so that only least squares and Griffin-Lim act."""
    torch.manual_seed(0)
    vocoder = SpectralVocoder(CONFIG, transform.window, transform.filters).eval()
    with torch.no_grad():
        vocoder.network.out.weight.zero_()
        vocoder.network.out.bias.zero_()
    return vocoder


def chords(frames: int) -> FloatArray:
    """Decaying tones over faint noise, a new one every half second; the right channel is quieter."""
    rng = np.random.default_rng(5)
    time = np.arange(frames * 512) / MODEL_RATE
    pitch = 110 * 2 ** (np.array([0, 3, 7, 10])[(time / 0.5).astype(int) % 4] / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / MODEL_RATE
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3, 4, 5)) * np.exp(-4 * (time % 0.5))
    sound = 0.2 * tone + 0.003 * rng.standard_normal(len(time))
    return np.stack([sound, 0.5 * sound]).astype(np.float32)


def log_mel(transform: LogMel, sound: FloatArray) -> FloatArray:
    mel: FloatArray = transform(torch.tensor(sound)).numpy()
    return mel


def test_the_mel_is_reproduced(vocoder: SpectralVocoder, transform: LogMel) -> None:
    mel = log_mel(transform, chords(200))
    sound = vocoder.decode(mel)
    assert sound.shape == (2, 200 * 512)
    assert np.abs(log_mel(transform, sound) - mel).mean() < 0.25
    assert np.abs(sound).max() <= 1


def test_more_iterations_of_griffin_lim_reduce_the_error(vocoder: SpectralVocoder, transform: LogMel) -> None:
    mel, errors = log_mel(transform, chords(100)), []
    for iterations in (0, 4, 24):
        vocoder.iterations = iterations
        errors.append(np.abs(log_mel(transform, vocoder.decode(mel)) - mel).mean())
    vocoder.iterations = CONFIG["iterations"]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("hertz", [220.0, 1000.0, 5000.0])
def test_a_tone_keeps_its_pitch(vocoder: SpectralVocoder, transform: LogMel, hertz: float) -> None:
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(80 * 512) / MODEL_RATE).astype(np.float32)
    sound = vocoder.decode(log_mel(transform, np.stack([tone, tone])))
    spectrum = np.abs(np.fft.rfft(sound[0, 8192 : 8192 + 16384] * np.hanning(16384)))
    assert spectrum.argmax() * MODEL_RATE / 16384 == pytest.approx(hertz, rel=0.06)


def test_silence_stays_silent(vocoder: SpectralVocoder, transform: LogMel) -> None:
    assert np.abs(vocoder.decode(log_mel(transform, np.zeros((2, 20 * 512), np.float32)))).max() < 1e-3


def test_the_same_mel_gives_the_same_samples(vocoder: SpectralVocoder, transform: LogMel) -> None:
    mel = log_mel(transform, chords(30))
    torch.manual_seed(1)
    first = vocoder.decode(mel)
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, vocoder.decode(mel))


@pytest.mark.parametrize("overlap", [False, True])
def test_any_number_of_frames_is_decoded(vocoder: SpectralVocoder, transform: LogMel, overlap: bool) -> None:
    mel = log_mel(transform, chords(24))
    assert vocoder.decode(mel[..., :0], overlap=overlap).shape == (2, 0)
    for frames in (1, 2, 3, 17):
        sound = vocoder.decode(mel[..., :frames], overlap=overlap)
        assert sound.shape == (2, frames * 512)
        assert np.isfinite(sound).all()


def test_blocks_continue_the_block_before(vocoder: SpectralVocoder, transform: LogMel) -> None:
    sound = chords(560)
    mel = log_mel(transform, sound)
    blocks = log_mel(transform, vocoder.decode(mel, overlap=True))
    error = np.abs(blocks - mel).mean(axis=(0, 1))
    seam = error[506:518]
    assert seam.mean() < 1.5 * error.mean()


def test_a_change_does_not_affect_later_sounds(vocoder: SpectralVocoder, transform: LogMel) -> None:
    """After a repainted span the waveform is unchanged from the next chord on."""
    mel = log_mel(transform, chords(400))
    repainted = mel.copy()
    repainted[..., 100:180] = repainted[..., 220:300] - 1.0
    before, after = vocoder.decode(mel), vocoder.decode(repainted)
    change = np.square(after - before).mean(axis=0)
    loud = np.square(before).mean(axis=0)
    inside, later = slice(MODEL_RATE, 2 * MODEL_RATE), slice(3 * MODEL_RATE, None)
    assert change[inside].sum() > 0.5 * loud[inside].sum()
    assert change[later].sum() < 1e-4 * loud[later].sum()


def test_memory_of_an_overlapped_decode_stays_bounded(
    vocoder: SpectralVocoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acestep_flows.model.spectral_vocoder.BLOCK_FRAMES", 64)
    monkeypatch.setattr(vocoder, "iterations", 1)

    def peak(frames: int, overlap: bool) -> int:
        memory = LivePeak()
        with memory:
            vocoder.decode(np.full((2, 128, frames), -5, np.float32), overlap=overlap)
        return memory.peak

    assert peak(300, overlap=True) < 1.4 * peak(150, overlap=True)  # the song itself grows
    assert peak(300, overlap=False) > 2 * peak(300, overlap=True)


def test_parts_take_no_more_memory_in_a_longer_song(vocoder: SpectralVocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.model.spectral_vocoder.BLOCK_FRAMES", 64)
    monkeypatch.setattr(vocoder, "iterations", 1)

    def peak(frames: int) -> int:
        memory = LivePeak()
        with memory:
            for part in vocoder.parts(np.full((2, 128, frames), -5, np.float32), overlap=True):
                assert part.shape[1] <= 65 * 512
        return memory.peak

    assert peak(600) <= 1.001 * peak(300)


@pytest.mark.parametrize("frames", [1, 24, 64, 65, 129, 200])
def test_parts_are_the_decode_cut(
    vocoder: SpectralVocoder, transform: LogMel, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    monkeypatch.setattr("acestep_flows.model.spectral_vocoder.BLOCK_FRAMES", 64)
    mel = log_mel(transform, chords(max(frames, 8)))[..., :frames]
    for overlap in (False, True):
        parts = list(vocoder.parts(mel, overlap=overlap))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), vocoder.decode(mel, overlap=overlap))


def test_least_squares_reproduce_the_mel(transform: LogMel) -> None:
    mel = torch.tensor(log_mel(transform, chords(40))).mT
    magnitudes = invert_mel(mel, transform.filters, updates=50)
    assert (magnitudes >= 0).all()
    assert ((magnitudes @ transform.filters).log() - mel).abs().mean() < 0.05


def test_the_config_of_a_checkpoint_selects_it(vocoder: SpectralVocoder, transform: LogMel, tmp_path: Path) -> None:
    shutil.copytree(small_folder(), tmp_path / "model")
    tensors = vocoder.network.state_dict() | {WINDOW: transform.window, FILTERS: transform.filters}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == spectral_vocoder_layout(CONFIG)
    write_part(tmp_path / "model", VOCODER, CONFIG, tensors, exact=(WINDOW, FILTERS))
    loaded = load_vocoder(Checkpoint.open(tmp_path / "model"), Placement())
    assert isinstance(loaded, SpectralVocoder)
    mel = log_mel(transform, chords(20))
    np.testing.assert_allclose(loaded.decode(mel), vocoder.decode(mel), atol=0.02)  # weights were rounded to bfloat16
    assert isinstance(load_vocoder(Checkpoint.open(small_folder()), Placement()), Vocoder)
    edit_json(tmp_path / "model" / VOCODER / "config.json", lambda config: config.update(width=17))
    with pytest.raises(CheckpointError, match="stem"):
        Checkpoint.open(tmp_path / "model")
