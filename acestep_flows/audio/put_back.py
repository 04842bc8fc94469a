"""A user's own samples put back around what an edit changed, crossfaded at the joints.

Decoding a whole song again changes details everywhere. Outside of an edit the user's samples are the better copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acestep_flows.audio.loudness import decibels
from acestep_flows.audio.resample import at_rate, mono, stereo
from acestep_flows.values import MODEL_RATE, SAMPLES_PER_FRAME, Audio, FloatArray, Span

CROSSFADE = 0.03
"""Seconds of every crossfade."""

REACH = 0.06
"""Seconds inside the span, from either end, in which a better place for the joint is looked for."""

SEARCH_STEP = 0.001
LEVEL_WINDOW = 0.05
"""Seconds on either side of a joint whose levels the report compares."""


@dataclass(frozen=True)
class Joint:
    """A crossfade between the source and what was changed, over the samples `start` to `end` of the result.

    Attributes:
        into_changed: whether the source comes first.
    """

    start: int
    end: int
    into_changed: bool


@dataclass(frozen=True)
class PutBack:
    """The result of `put_back`.

    Attributes:
        audio: at the rate and with the channels of the source: mono stays mono; of more than two, the first two.
        offset: the second of the audio at which the source starts.
        joints: in order.
    """

    audio: Audio
    offset: float
    joints: tuple[Joint, ...]

    def cut(self, first: int, last: int) -> PutBack:
        """The samples `first` to `last`, none of them before the start or after the end; joints move along."""
        first, last = max(first, 0), min(last, self.audio.samples.shape[1])
        joints = tuple(Joint(joint.start - first, joint.end - first, joint.into_changed) for joint in self.joints)
        audio = Audio(self.audio.samples[:, first:last], self.audio.sample_rate)
        return PutBack(audio, self.offset - first / audio.sample_rate, joints)

    def entries(self) -> dict[str, Any]:
        """The joints as JSON, for a report: where each is, and by how much the level rises there."""
        rate, samples = self.audio.sample_rate, self.audio.samples
        window = round(LEVEL_WINDOW * rate)
        joints = []
        for joint in self.joints:
            before = _level(samples[:, max(0, joint.start - window) : joint.start])
            after = _level(samples[:, joint.end : joint.end + window])
            step = after - before if before is not None and after is not None else None
            joints.append({"start": joint.start / rate, "end": joint.end / rate, "level_step_db": step})
        return {"joints": joints}


def around_span(source: Audio, changed: Audio, span: Span) -> PutBack:
    """`source` with `changed` in its span; the result is as long as the source.

    A crossfade lies where the two versions differ least, at a quiet or similar point, and outside of the span by no
    more than its own length.

    Args:
        changed: from the start of the source, at any rate.
        span: in seconds of the source; where it reaches an end of the source, there is no joint.
    """
    source = source if source.channels == 1 else stereo(source)
    rate, length = source.sample_rate, source.samples.shape[1]
    changed = _fitted(changed, source, length)
    fade = round(CROSSFADE * rate)
    first, last = round(span.start * rate), min(round(span.end * rate), length)
    if last <= first:  # the span holds no sample
        return PutBack(source, 0.0, ())
    inside = min(fade + round(REACH * rate), (last - first) // 2)
    difference = np.square(source.samples - changed.samples, dtype=np.float64).sum(axis=0)
    joints = []
    if first >= fade:
        start = _quietest(difference, first - fade, first - fade + inside, fade, rate)
        joints.append(Joint(start, start + fade, into_changed=True))
    if last + fade <= length:
        start = _quietest(difference, last - inside, last, fade, rate)
        joints.append(Joint(start, start + fade, into_changed=False))
    return PutBack(_spliced(source.samples, changed, joints, everywhere=not joints), 0.0, tuple(joints))


def inside_extension(source: Audio, changed: Audio, offset: float) -> PutBack:
    """`source` inside of `changed`, which goes on before it, after it, or both.

    The crossfades lie inside the source, at its ends. What goes on for less than a latent frame after the source is the
    padding of its last frame, and is cut off.

    Args:
        changed: at any rate.
        offset: the second of `changed` at which the source starts.
    """
    source = source if source.channels == 1 else stereo(source)
    rate, length = source.sample_rate, source.samples.shape[1]
    start = round(offset * rate)
    end = max(start + length, math.ceil(changed.seconds * rate - 1e-6))
    if end - start - length < SAMPLES_PER_FRAME / MODEL_RATE * rate:
        end = start + length
    changed = _fitted(changed, source, end)
    fade = min(round(CROSSFADE * rate), length // 2)
    joints = []
    if start > 0:
        joints.append(Joint(start, start + fade, into_changed=False))
    if end > start + length:
        joints.append(Joint(start + length - fade, start + length, into_changed=True))
    placed = np.pad(source.samples, ((0, 0), (start, end - start - length)))
    return PutBack(_spliced(placed, changed, joints), start / rate, tuple(joints))


def _fitted(changed: Audio, source: Audio, length: int) -> Audio:
    """`changed` with the rate and channels of `source`, and `length` samples."""
    changed = at_rate(mono(changed) if source.channels == 1 else stereo(changed), source.sample_rate)
    samples = changed.samples[:, :length]
    return Audio(np.pad(samples, ((0, 0), (0, length - samples.shape[1]))), source.sample_rate)


def _quietest(difference: np.ndarray[Any, Any], first: int, last: int, fade: int, rate: int) -> int:
    """The start of the crossfade, from `first` to `last`, during which the versions differ least."""
    first, last = max(0, first), min(last, len(difference) - fade)
    starts = np.arange(first, max(first, last) + 1, max(1, round(SEARCH_STEP * rate)))
    sums = np.concatenate([[0.0], np.cumsum(difference)])
    return int(starts[np.argmin(sums[starts + fade] - sums[starts])])


def _spliced(source: FloatArray, changed: Audio, joints: Sequence[Joint], everywhere: bool = False) -> Audio:
    """Source and changed by turns. Outside of crossfades every sample is that of one or the other, bit for bit."""
    if everywhere:
        return changed
    out = source.copy()
    spoken = 0 if joints and not joints[0].into_changed else None  # where the changed part began
    for joint in joints:
        window = slice(joint.start, joint.end)
        old, new = source[:, window], changed.samples[:, window]
        if joint.into_changed:
            spoken = joint.end
            out[:, window] = _crossfade(old, new)
        else:
            out[:, spoken : joint.start] = changed.samples[:, spoken : joint.start]
            out[:, window] = _crossfade(new, old)
            spoken = None
    if spoken is not None:
        out[:, spoken:] = changed.samples[:, spoken:]
    return Audio(out, changed.sample_rate)


def _crossfade(first: FloatArray, second: FloatArray) -> FloatArray:
    """From `first` to `second`. The level stays, whether they are alike (equal gain) or not (equal power)."""
    phase = (np.arange(first.shape[1]) + 0.5) / max(first.shape[1], 1) * np.pi / 2
    fall, rise = np.cos(phase) ** 2, np.sin(phase) ** 2
    scale = math.sqrt(float(np.square(first).sum(dtype=np.float64)) * float(np.square(second).sum(dtype=np.float64)))
    alike = max(0.0, float((first * second).sum(dtype=np.float64)) / scale) if scale > 0 else 1.0
    power = np.sqrt(fall**2 + rise**2 + 2 * min(alike, 1.0) * fall * rise)
    mixed: FloatArray = (first * (fall / power) + second * (rise / power)).astype(np.float32)
    return mixed


def _level(samples: FloatArray) -> float | None:
    """dBFS; None for silence, or for no samples."""
    return decibels(math.sqrt(np.square(samples, dtype=np.float64).mean())) if samples.size else None
