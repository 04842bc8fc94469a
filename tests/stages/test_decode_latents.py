from __future__ import annotations

import numpy as np

from acestep_flows.model.checkpoint import Checkpoint
from tests.stages.material import latents
from tests.stages.running import run


def test_eight_mel_frames_for_each_latent_frame(small: Checkpoint) -> None:
    mel = run("decode_latents", small, {}, latents=latents(12)).mel
    assert mel.log_mel.shape == (2, 128, 96)


def test_short_songs_are_decoded_in_one_piece(small: Checkpoint) -> None:
    song = latents(40)
    whole = run("decode_latents", small, {"overlap": False}, latents=song).mel
    assert run("decode_latents", small, {}, latents=song).mel == whole


def test_long_songs_are_decoded_in_windows_unless_told_otherwise(small: Checkpoint) -> None:
    song = latents(600)
    default = run("decode_latents", small, {}, latents=song).mel
    assert default == run("decode_latents", small, {"overlap": True}, latents=song).mel
    whole = run("decode_latents", small, {"overlap": False}, latents=song).mel
    assert default.frames == whole.frames == 4800
    assert np.abs(default.log_mel - whole.log_mel).max() > 0  # the innermost stage sees less at once
