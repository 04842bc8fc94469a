"""The beat that a model plays to by itself, where its checkpoint says that it does (`model.beat_conditioning`)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from acestep_flows.values import SAMPLES_PER_FRAME, FloatArray
from acestep_flows.wording.tempo import tempos

if TYPE_CHECKING:
    from acestep_flows.audio.beat import DrumBeat
    from acestep_flows.model.beat_conditioning import BeatConditioning
    from acestep_flows.model.checkpoint import Checkpoint

NO_BEAT, AUTO = "none", "auto"
VERSION = 1
"""Raised whenever the same tags give other strokes; part of cache keys."""


def own_beat(checkpoint: Checkpoint, beat: str) -> BeatConditioning | None:
    """How the model plays to a beat; None where it does not, or where none is asked for.

    Args:
        beat: "none", "auto", or a pattern of the stage `beat`.
    """
    if beat == NO_BEAT:
        return None
    from acestep_flows.model.beat_conditioning import beat_conditioning

    return beat_conditioning(checkpoint)


def beat_weights(checkpoint: Checkpoint, beat: str, control_branch: str | None) -> tuple[str, ...]:
    """Digests of all that the beat depends on: the branch, the autoencoder, and how strokes are made."""
    own = own_beat(checkpoint, beat) if control_branch is None else None
    if own is None:
        return ()
    made = hashlib.sha256(repr((VERSION, beat, own)).encode()).hexdigest()
    return (checkpoint.extra_digest("controls", own.control_branch), checkpoint.digest("music_dcae_f8c8"), made)


def beat_notes(checkpoint: Checkpoint, beat: str) -> tuple[str, ...]:
    """That a pattern was asked of a model that follows none."""
    if beat in (NO_BEAT, AUTO) or own_beat(checkpoint, beat) is not None:
        return ()
    return (f"beat: this model follows no beat, so {beat!r} changes nothing",)


def beat_of(tags: str, beat: str, own: BeatConditioning) -> tuple[DrumBeat | None, tuple[str, ...]]:
    """The beat for a song with these tags, and what to tell of it. None where they have no tempo that can be played.

    Of several tempos the first one counts.

    Raises:
        InputError: `beat` is no pattern.
    """
    from acestep_flows.audio.beat import TEMPOS, DrumBeat, read_pattern, style_of
    from acestep_flows.model.beat_conditioning import STYLE

    name = own.pattern if beat == AUTO else beat
    pattern = read_pattern(style_of(tags) if name == STYLE else name)
    found = tempos(tags)
    if not found:
        return None, ()
    tempo = found[0]
    low, high = TEMPOS
    if not low <= tempo <= high:
        return None, (f"tags: {tempo:g} bpm is played without a beat; beats have {low:.0f} to {high:.0f} bpm",)
    others = ", ".join(f"{other:g}" for other in found[1:])
    warning = f"tags: they have more than one tempo; the beat has {tempo:g} bpm, not {others}"
    return DrumBeat(tempo, pattern), (warning,) if others else ()


def beat_scale(tags: str, own: BeatConditioning) -> float:
    """The strength of the beat for a song with these tags."""
    from acestep_flows.audio.beat import asks_for_drums

    if own.scale_without_drums is None or asks_for_drums(tags):
        return own.scale
    return own.scale_without_drums


def beat_samples(beat: DrumBeat, frames: int) -> FloatArray:
    """The beat for a song of `frames` latent frames: (2, samples) at 44.1 kHz."""
    import numpy as np

    from acestep_flows.audio.beat import beat_track

    track = beat_track(beat, frames * SAMPLES_PER_FRAME)
    return np.stack([track, track])
