"""How much of a change of tempo or style a model in training makes at high noise, where tempo and style are decided.

Two clips differ in one property. The model estimates the data of both from the same noise, told by text or by a beat
track. The change between its estimates is projected on the true change: 1 means that the property is learnt, 0 that it
has no effect. The true change is averaged over songs; two halves of the songs keep its chance part out of the scale:

    projection = <change of estimates, change of half 1> / <change of half 1, change of half 2>

`measure_projections` takes some seconds, and the songs some more at the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.training.data.contrasts import STYLES, ContrastClip, contrasts
from acestep_flows.training.kinds.conditions import INSTRUMENTAL, Blanks
from acestep_flows.training.kinds.networks import WordTokens
from acestep_flows.training.kinds.objective import add_noise, data_estimate
from acestep_flows.training.kinds.song_batch import SongBatch, SongTarget
from acestep_flows.values import FloatArray

LEVELS = (1.0, 0.97)
SEED = 77_000
"""Seed of the noise."""


class ProjectedTask(Protocol):
    """What the measurement needs of a task; see `song_task.SongTask`."""

    device: str
    checkpoint: Checkpoint

    def autocast(self) -> Any: ...

    def tokenize(self, targets: list[SongTarget], blanks: Blanks) -> WordTokens: ...

    def velocity(self, batch: SongBatch, noisy: Tensor, levels: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Clip:
    """One clip: its latents (8, 16, T), those of its beat track, and its tags, the tempo first."""

    latents: Tensor
    beat: Tensor
    tags: str

    @property
    def tags_without_tempo(self) -> str:
        return self.tags.partition(", ")[2]


@dataclass(frozen=True)
class Pair:
    """Two clips of one seed that differ in one property."""

    first: Clip
    second: Clip


@torch.no_grad()
def measure_projections(task: ProjectedTask, pairs: int, *, beats: bool) -> dict[str, float]:
    """The projections of the model in `task`, as "tempo_by_text_1.0" and so on.

    Args:
        pairs: pairs of clips of each style and half.
        beats: the model has a branch for beat tracks, so measure what these do.
    """
    tempo_pairs, style_pairs = _clips(task.checkpoint, pairs)
    measured: dict[str, float] = {}
    for level in LEVELS:
        measured[f"tempo_by_text_{level}"] = _project(task, tempo_pairs, level, beats=False)
        if beats:
            measured[f"tempo_by_beat_{level}"] = _project(task, tempo_pairs, level, beats=True)
        measured[f"style_by_text_{level}"] = _project(task, style_pairs, level, beats=False, steady=True)
    return measured


Halves = tuple[list[Pair], list[Pair]]


def _project(
    task: ProjectedTask, groups: Mapping[str, Halves], level: float, *, beats: bool, steady: bool = False
) -> float:
    """The projection over all groups of pairs at one noise level. `steady` compares means over time."""
    along = scale = 0.0
    for first_half, second_half in groups.values():
        changes = [_true_change(half) for half in (first_half, second_half)]
        estimated = [_estimated_change(task, half, level, beats=beats) for half in (first_half, second_half)]
        if steady:
            changes, estimated = ([change.mean(-1) for change in part] for part in (changes, estimated))
        along += sum(float((estimate * change).sum()) for estimate in estimated for change in changes) / 4
        scale += float((changes[0] * changes[1]).sum())
    return along / scale


def _true_change(half: list[Pair]) -> Tensor:
    return torch.stack([pair.second.latents - pair.first.latents for pair in half]).mean(0)


def _estimated_change(task: ProjectedTask, half: list[Pair], level: float, *, beats: bool) -> Tensor:
    """Mean change (8, 16, T) of the data estimate from the first to the second clips of `half`."""
    generator = torch.Generator().manual_seed(SEED)
    data = torch.stack([pair.first.latents for pair in half])
    noise = torch.randn(data.shape, generator=generator)
    levels = torch.full((len(half),), level, device=task.device)
    noisy = add_noise(data, noise, levels.cpu()).to(task.device)
    estimates = []
    for clips in ([pair.first for pair in half], [pair.second for pair in half]):
        tags = [clip.tags_without_tempo if beats else clip.tags for clip in clips]
        words = task.tokenize([SongTarget("", text, INSTRUMENTAL) for text in tags], Blanks.none(len(tags)))
        control = torch.stack([clip.beat for clip in clips]) if beats else None
        with task.autocast():
            velocity = task.velocity(SongBatch(data, None, words, control), noisy, levels)
        estimates.append(data_estimate(noisy, velocity.float(), levels).cpu())
    return (estimates[1] - estimates[0]).mean(0)


@lru_cache(maxsize=2)
def _clips(checkpoint: Checkpoint, pairs: int) -> tuple[dict[str, Halves], dict[str, Halves]]:
    """The pairs that differ in tempo, and those that differ in style, by style."""
    from acestep_flows.model.autoencoder import Autoencoder
    from acestep_flows.model.placement import Placement

    autoencoder = Autoencoder.load(checkpoint, Placement(), halves=["encoder"])

    def encode(samples: FloatArray) -> Tensor:
        return torch.from_numpy(autoencoder.encode(np.ascontiguousarray(samples, np.float32)))

    def clip(example: ContrastClip) -> Clip:
        return Clip(encode(example.mix), encode(example.beat), example.tags)

    tempos: dict[str, Halves] = {}
    styles: dict[str, Halves] = {}
    for style in STYLES:
        clips = [[clip(one.slow), clip(one.fast), clip(one.other)] for one in contrasts(style, 2 * pairs)]
        slow_fast = [Pair(slow, fast) for slow, fast, _ in clips]
        own_other = [Pair(slow, other) for slow, _, other in clips]
        tempos[style] = slow_fast[:pairs], slow_fast[pairs:]
        styles[style] = own_other[:pairs], own_other[pairs:]
    return tempos, styles
