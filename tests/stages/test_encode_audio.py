from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import Audio
from tests.stages.material import latents, tone
from tests.stages.running import run


@pytest.mark.parametrize(("sample_rate", "channels"), [(48_000, 2), (44_100, 1), (8_000, 1), (96_000, 8)])
def test_any_rate_and_any_channels(small: Checkpoint, sample_rate: int, channels: int) -> None:
    encoded = run("encode_audio", small, {}, audio=tone(2.0, sample_rate=sample_rate, channels=channels)).latents
    assert encoded.frames == 22  # 2 s are 21.5 frames, rounded up


def test_only_the_first_two_channels_count(small: Checkpoint) -> None:
    quiet = tone(1.0).samples
    loud = np.concatenate([quiet, np.ones((6, quiet.shape[1]), np.float32)])
    first = run("encode_audio", small, {}, audio=Audio(quiet, 48_000)).latents
    assert first == run("encode_audio", small, {}, audio=Audio(loud, 48_000)).latents


def test_what_was_vocoded_comes_back_at_its_own_length(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(20)).mel
    audio = run("vocode", small, {}, mel=mel).audio
    assert run("encode_audio", small, {}, audio=audio).latents.frames == 20


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0.0, r"no samples \(allowed: at least one sample, up to 240 s\)"),
        (241.0, r"241.00 s \(allowed: up to 240 s; trim it first\)"),
    ],
)
def test_lengths_that_cannot_be(small: Checkpoint, seconds: float, message: str) -> None:
    with pytest.raises(InputError, match=rf"encode_audio\.audio: {message}"):
        run("encode_audio", small, {}, audio=tone(seconds, sample_rate=8_000))


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_one_sample_is_enough(small: Checkpoint, rate: int) -> None:
    assert run("encode_audio", small, {}, audio=Audio(np.ones((1, 1), np.float32), rate)).latents.frames == 1
