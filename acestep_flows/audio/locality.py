"""Locality of an edit: how much two versions of a song differ inside the edited span and outside of it.

There are two comparisons. In latents, an edit that keeps to its span changes exactly nothing outside. In decoded
audio, the decoder smears every change a little beyond the span, so `edge` seconds on either side of the span are a
region of their own.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from acestep_flows.audio.loudness import decibels
from acestep_flows.audio.resample import at_rate, stereo
from acestep_flows.errors import InputError
from acestep_flows.values import MODEL_RATE, SAMPLES_PER_FRAME, Audio, FloatArray, Latents, Span


@dataclass(frozen=True)
class Change:
    """The difference of two versions in one region.

    Attributes:
        seconds: duration of the region, as far as both versions have it.
        relative: RMS of the difference over RMS of the first version; 0 when equal, None when the first is silent.
        decibels: `relative` in dB; None when the versions are equal or the first is silent.
        rms: RMS of the difference.
        largest: the largest magnitude of the difference.
    """

    seconds: float
    relative: float | None
    decibels: float | None
    rms: float
    largest: float


@dataclass(frozen=True)
class Locality:
    """The change inside a span, in the edges next to it, and outside of both; None for an empty region."""

    inside: Change | None
    edges: Change | None
    outside: Change | None

    def entries(self) -> dict[str, Any]:
        """The changes as JSON, for a report."""
        return dataclasses.asdict(self)


def latents(before: Latents, after: Latents, span: Span | None, *, offset: int = 0, edge: float = 0.0) -> Locality:
    """Compare two versions in latents.

    Args:
        before: the version that was edited.
        after: the result.
        span: the span of the edit, in seconds of `after`; every frame that it touches is inside. None means that
            everything is outside.
        offset: the frame of `after` at which `before` starts; it is not 0 after an extension to the left.
        edge: width of the edge regions, in seconds.

    Raises:
        InputError: `edge` is negative.
    """
    return _compare(before.array, after.array, span, offset, edge, MODEL_RATE / SAMPLES_PER_FRAME)


def audio(before: Audio, after: Audio, span: Span | None, *, offset: float = 0.0, edge: float = 0.0) -> Locality:
    """Compare two versions as stereo waveforms at the rate of `after`. As `latents`, but `offset` is in seconds."""
    old, new = stereo(at_rate(before, after.sample_rate)).samples, stereo(after).samples
    return _compare(old, new, span, round(offset * after.sample_rate), edge, after.sample_rate)


def by_second(before: Audio | Latents, after: Audio | Latents) -> list[Change]:
    """The change in every second that both versions have, the last one perhaps shorter. Both are of one kind.

    Audio is compared as stereo waveforms at the rate of `after`.
    """
    if isinstance(before, Audio) and isinstance(after, Audio):
        rate: float = after.sample_rate
        old, new = stereo(at_rate(before, after.sample_rate)).samples, stereo(after).samples
    else:
        assert isinstance(before, Latents)
        assert isinstance(after, Latents)
        rate, old, new = MODEL_RATE / SAMPLES_PER_FRAME, before.array, after.array
    steps = min(old.shape[-1], new.shape[-1])
    edges = [min(round(second * rate), steps) for second in range(math.ceil(steps / rate) + 1)]
    parts = [slice(start, end) for start, end in itertools.pairwise(edges)]
    changes = (_change(old[..., part], new[..., part], rate) for part in parts)
    return [change for change in changes if change is not None]


def _compare(
    before: FloatArray, after: FloatArray, span: Span | None, offset: int, edge: float, rate: float
) -> Locality:
    """Compare along the last axis, which has `rate` steps per second."""
    if edge < 0:
        raise InputError(f"edge {edge:g} s", where="locality", allowed="0 or more seconds")
    first, last = max(offset, 0), min(after.shape[-1], before.shape[-1] + offset)
    steps = np.arange(first, max(first, last))
    old, new = before[..., steps - offset], after[..., steps]
    inside = near = np.zeros(steps.shape, np.bool_)
    if span is not None:
        inside = _within(steps, span.start, span.end, rate)
        near = _within(steps, span.start - edge, span.end + edge, rate)
    return Locality(
        inside=_change(old[..., inside], new[..., inside], rate),
        edges=_change(old[..., near & ~inside], new[..., near & ~inside], rate),
        outside=_change(old[..., ~near], new[..., ~near], rate),
    )


def _within(steps: np.ndarray[Any, Any], start: float, end: float, rate: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A mask of the steps that a time span touches. A tolerance keeps rounding from adding a step."""
    inside: np.ndarray[Any, np.dtype[np.bool_]] = (steps >= math.floor(start * rate + 1e-6)) & (
        steps < math.ceil(end * rate - 1e-6)
    )
    return inside


def _change(before: FloatArray, after: FloatArray, rate: float) -> Change | None:
    if before.shape[-1] == 0:
        return None
    difference = after.astype(np.float64) - before
    rms = math.sqrt(np.mean(difference**2))
    level = math.sqrt(np.mean(before.astype(np.float64) ** 2))
    relative = rms / level if level > 0 else (0.0 if rms == 0 else None)
    return Change(
        seconds=before.shape[-1] / rate,
        relative=relative,
        decibels=decibels(relative) if relative is not None else None,
        rms=rms,
        largest=float(np.abs(difference).max()),
    )
