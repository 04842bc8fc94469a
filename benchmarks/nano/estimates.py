"""Estimates of a clip, each computed once, and their agreement with the truth or with another clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from acestep_flows.training.synthesis import Truth
from benchmarks.nano import listening
from benchmarks.nano.listening import Samples


class ClipEstimates:
    """A clip and its estimates, each computed once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    @cached_property
    def scales(self) -> list[int]:
        return listening.scale_ranking(self.samples)

    @cached_property
    def onsets(self) -> listening.Array:
        return listening.onsets(self.samples)

    @cached_property
    def tempo(self) -> float:
        return listening.tempo(self.samples)


def estimate_all(clips: Sequence[Samples]) -> list[ClipEstimates]:
    return [ClipEstimates(clip) for clip in clips]


def true_scale(truth: Truth) -> int:
    """The major key with the notes of a piece's key, 0..11."""
    return listening.scale_of(truth.key, truth.mode)


def in_time(clip: ClipEstimates, truth: Truth) -> bool:
    """Whether the tempo near the true one is within 3 % of it."""
    return abs(listening.tempo_of_onsets(clip.onsets, truth.tempo) / truth.tempo - 1) < 0.03


def onset_agreement(clip: ClipEstimates, other: ClipEstimates) -> float:
    """Correlation of the onsets of two clips."""
    return listening.correlation_of_onsets(clip.onsets, other.onsets)
