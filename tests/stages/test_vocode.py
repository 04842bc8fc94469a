from __future__ import annotations

import math

from acestep_flows.model.checkpoint import Checkpoint
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
