"""How near a song is to the one that it varies."""

from __future__ import annotations

import numpy as np

from acestep_flows.session.original import changes
from acestep_flows.values import MODEL_RATE, Audio, Latents, Report


def latents(level: float, frames: int = 20) -> Latents:
    return Latents(np.full((8, 16, frames), level, np.float32))


def audio(level: float, seconds: float = 1.0) -> Audio:
    return Audio(np.full((2, round(seconds * MODEL_RATE)), level, np.float32), MODEL_RATE)


def test_latents_and_sound_are_compared_with_those_of_the_same_length() -> None:
    outputs = {"report": Report({}), "audio": audio(0.2), "latents": latents(1.0)}
    found = dict(changes([latents(1.0), audio(0.1)], outputs))
    assert found["latents"]["inside"]["relative"] == 0
    assert found["latents"]["outside"] is None
    assert abs(found["heard"]["inside"]["decibels"]) < 0.1, "the difference is as loud as the song"
    assert changes([latents(1.0, 30), audio(0.1, 2.0)], outputs) == [], "other lengths are other songs"
    assert [name for name, _ in changes([audio(0.1, 1.05)], outputs)] == ["heard"], "a frame more or less is none"
    assert changes([audio(0.1)], {"latents": latents(1.0)}) == []
    assert changes([], outputs) == []
