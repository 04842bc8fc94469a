from __future__ import annotations

import math
import tracemalloc

import numpy as np

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.vocode import Vocode
from acestep_flows.values import MEL_HOP, Mel
from tests.stages.material import latents, tone
from tests.stages.running import loaded, run


def test_audio_at_48_khz_and_nothing_trimmed(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(11)).mel
    audio = run("vocode", small, {}, mel=mel).audio
    assert audio.sample_rate == 48_000
    assert audio.samples.shape == (2, math.ceil(160 * 4096 * 11 / 147))


def test_like_cuts_to_the_length_of_the_source(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(11)).mel
    audio = run("vocode", small, {}, mel=mel, like=tone(0.9, sample_rate=22_050)).audio
    assert audio.samples.shape == (2, round(0.9 * 48_000))


def test_a_song_is_cut_to_the_sample_where_its_length_is_exact(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(11)).mel
    whole = run("vocode", small, {"seconds": 1.0}, mel=mel).audio
    exact = run("vocode", small, {"seconds": 1.0, "exact_length": True}, mel=mel).audio
    assert whole.samples.shape == (2, math.ceil(160 * 4096 * 11 / 147))
    np.testing.assert_array_equal(exact.samples, whole.samples[:, :48_000])
    params = {"seconds": 0.3, "sections": ["[verse]", "[outro]"], "exact_length": True}
    assert run("vocode", small, params, mel=mel).audio.samples.shape == (2, round(0.9 * 48_000))


def test_the_way_to_48_khz_leaves_no_images(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(40)).mel
    samples = run("vocode", small, {}, mel=mel).audio.samples
    spectrum = np.abs(np.fft.rfft(samples * np.blackman(samples.shape[1])))
    hertz = np.fft.rfftfreq(samples.shape[1], 1 / 48_000)
    assert 20 * np.log10(spectrum[:, hertz > 22_300].max() / spectrum.max()) < -80


def test_a_long_song_is_held_at_one_rate(small: Checkpoint) -> None:
    """No array of the waveform at 44.1 kHz beside that at 48 kHz."""
    frames = 16_000  # 186 s
    mel = Mel(np.random.default_rng(0).normal(-4, 2, (2, 128, frames)).astype(np.float32))
    stage = loaded("vocode", small)
    stage.run([Vocode.In(Mel(mel.log_mel[..., :600]))], [Vocode.Params(overlap=True)])  # what is cached once
    tracemalloc.start()
    try:
        (out,) = stage.run([Vocode.In(mel)], [Vocode.Params()])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    waveform = 2 * 4 * frames * MEL_HOP
    assert peak < out.audio.samples.nbytes + 0.75 * waveform
