from __future__ import annotations

import math

import pytest

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import seconds_from_frames
from tests.stages.material import latents, tone
from tests.stages.running import run


def test_audio_at_48_khz_and_nothing_trimmed(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(11)).mel
    audio = run("vocode", small, {}, mel=mel).audio
    assert audio.sample_rate == 48_000
    assert audio.samples.shape == (2, math.ceil(160 * 4096 * 11 / 147))


def test_like_cuts_to_the_length_of_the_source(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(11)).mel
    audio = run("vocode", small, {}, mel=mel, like=tone(0.9, sample_rate=22_050)).audio
    assert audio.samples.shape == (2, round(0.9 * 48_000))


def test_a_song_is_cut_to_the_sample(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(11)).mel
    whole, cut = (run("vocode", small, {"seconds": seconds}, mel=mel).audio for seconds in (10.0, 1.0))
    assert whole.samples.shape == (2, math.ceil(160 * 4096 * 11 / 147))
    assert cut.samples.shape == (2, 48_000)
    assert (cut.samples == whole.samples[:, :48_000]).all()


@pytest.mark.parametrize("frames", range(1, 12))
def test_whole_frames_are_not_cut(small: Checkpoint, frames: int) -> None:
    mel = run("decode_latents", small, {}, latents=latents(frames)).mel
    audio = run("vocode", small, {"seconds": seconds_from_frames(frames)}, mel=mel).audio
    assert audio == run("vocode", small, {}, mel=mel).audio
