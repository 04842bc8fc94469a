"""Repaint and extend as a stage: what may change, and what is reported of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.values import Span
from tests.stages.material import latents
from tests.stages.running import run

SOURCE = latents(32, seed=4)


def repaint(small: Checkpoint, variance: float = 0.5, **params: Any) -> Any:
    noise = run("init_noise", small, {"seed": 5, "variance": variance, "retake_seed": 6}, like=SOURCE).noise
    prompt = run("encode_prompt", small, {"tags": "pop"}).prompt
    lyrics = run("encode_lyrics", small, {"lyrics": ""}).lyrics
    return run("repaint", small, {"steps": 4, **params}, prompt=prompt, lyrics=lyrics, source=SOURCE, noise=noise)


def test_outside_of_the_span_nothing_changes(small: Checkpoint) -> None:
    painted = repaint(small, span=Span(1.0, 2.0))
    first, last = 10, 21  # 1 s and 2 s in latent frames, truncated
    assert np.array_equal(painted.latents.array[..., :first], SOURCE.array[..., :first])
    assert np.array_equal(painted.latents.array[..., last:], SOURCE.array[..., last:])
    locality = painted.report.entries["locality"]
    assert locality["outside"]["largest"] == 0.0
    assert locality["inside"]["relative"] > 0.01


def test_variance_zero_keeps_the_song(small: Checkpoint) -> None:
    assert repaint(small, variance=0.0, span=Span(1.0, 2.0)).latents == SOURCE


def test_a_span_to_the_end_of_the_audio_is_fine(small: Checkpoint) -> None:
    painted = repaint(small, span=Span(1.0, SOURCE.seconds))
    assert painted.latents.frames == 32


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"span": Span(1.0, 3.5)}, r"span: 1 to 3.5 s \(allowed: within 0 to 2.97 s\)"),
        ({"span": Span(1.0, 1.02)}, r"span: 1 to 1.02 s \(allowed: at least one frame"),
        ({}, "either a span to paint or seconds to add"),
        ({"span": Span(1.0, 2.0), "right": 1.0}, "either a span to paint or seconds to add"),
        ({"right": 0.01}, "less than one frame to add"),
    ],
)
def test_what_cannot_be_painted(small: Checkpoint, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        repaint(small, **params)


def test_extension_on_both_sides_keeps_the_source(small: Checkpoint) -> None:
    longer = repaint(small, variance=1.0, left=1.0, right=5.0)
    left, right = 10, 53
    assert longer.latents.frames == left + 32 + right
    assert np.array_equal(longer.latents.array[..., left : left + 32], SOURCE.array)
    assert longer.offset == pytest.approx(left * 4096 / 44_100)
    assert longer.report.entries["locality"]["outside"]["largest"] == 0.0
    assert longer.report.entries["locality"]["inside"] is None


def test_noise_must_have_a_retake(small: Checkpoint) -> None:
    noise = run("init_noise", small, {"seed": 5}, like=SOURCE).noise
    prompt = run("encode_prompt", small, {"tags": "pop"}).prompt
    lyrics = run("encode_lyrics", small, {"lyrics": ""}).lyrics
    params = {"steps": 4, "span": Span(0.0, 1.0)}
    with pytest.raises(InputError, match="noise without a retake"):
        run("repaint", small, params, prompt=prompt, lyrics=lyrics, source=SOURCE, noise=noise)
