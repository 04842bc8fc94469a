"""Trimming and joining of audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from acestep_flows.audio.resample import at_rate, stereo
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, FloatArray, Span

Curve = Literal["equal_power", "equal_gain"]
"""equal_power keeps the level of a crossfade between different sounds, equal_gain between equal sounds."""


def trim(audio: Audio, span: Span) -> Audio:
    """The part of `audio` inside `span`, rounded to whole samples.

    Raises:
        InputError: the span reaches beyond the end, or contains no sample.
    """
    start, end = round(span.start * audio.sample_rate), round(span.end * audio.sample_rate)
    if end > audio.samples.shape[1]:
        bounds = f"{span.start:g} to {span.end:g} s"
        raise InputError(bounds, where="span", allowed=f"within the audio, 0 to {audio.seconds:.3f} s")
    if end == start:
        raise InputError(f"{span.start:g} to {span.end:g} s holds no sample", where="span")
    return Audio(audio.samples[:, start:end], audio.sample_rate)


def join(parts: Sequence[Audio], *, crossfade: float = 0.0, curve: Curve = "equal_power") -> Audio:
    """`parts` one after another, each overlapping the next by `crossfade` seconds.

    The result has the first part's sample rate. It has the channels of the parts if they all have the same number, and
    is stereo otherwise.

    Raises:
        InputError: there are no parts, or the crossfade is negative or too long for a part.
    """
    if not parts:
        raise InputError("no parts", where="join", allowed="at least one")
    rate = parts[0].sample_rate
    same_channels = len({part.channels for part in parts}) == 1
    pieces = [(at_rate(part, rate) if same_channels else stereo(at_rate(part, rate))).samples for part in parts]
    overlap = _overlap(pieces, crossfade, rate)
    rise, fall = _gains(overlap, curve)
    out = np.zeros((len(pieces[0]), sum(piece.shape[1] - overlap for piece in pieces) + overlap), np.float32)
    position = 0
    for number, piece in enumerate(pieces):
        faded = piece.copy()
        if number > 0:
            faded[:, :overlap] *= rise
        if number < len(pieces) - 1:
            faded[:, piece.shape[1] - overlap :] *= fall
        out[:, position : position + piece.shape[1]] += faded
        position += piece.shape[1] - overlap
    return Audio(out, rate)


def _overlap(pieces: Sequence[FloatArray], crossfade: float, rate: int) -> int:
    """The samples of `crossfade`. A part between two others must be as long as two crossfades."""
    if len(pieces) == 1:
        return 0
    room: list[int] = [
        piece.shape[1] // (1 if number in (0, len(pieces) - 1) else 2) for number, piece in enumerate(pieces)
    ]
    longest = min(room) / rate
    if not 0 <= crossfade <= longest + 0.5 / rate:
        problem = f"crossfade {crossfade:g} s"
        raise InputError(problem, where="join", allowed=f"0 to {longest:.3f} s for the shortest part")
    return min(round(crossfade * rate), *room)


def _gains(length: int, curve: Curve) -> tuple[FloatArray, FloatArray]:
    phase = (np.arange(length) + 0.5) / max(length, 1) * np.pi / 2
    rise, fall = np.sin(phase), np.cos(phase)
    if curve == "equal_gain":
        rise, fall = rise**2, fall**2
    return rise.astype(np.float32), fall.astype(np.float32)
