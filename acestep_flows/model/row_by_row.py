"""How processors mix the frames of songs: one row after the other.

One row fits into the processor's cache, rows are cut to their real frames, and nothing is copied to be padded.
B rows (songs), T frames, H heads, d channels of a head, D = H d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.padding import Padding, joint_rows, real_rows, stack_rows
from acestep_flows.model.processor_attention import attend
from acestep_flows.model.rope import Rotation, rotate


class RowByRow:
    """The operations of `FrameMixing`, each a loop over rows."""

    def per_row(
        self, work: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor, solo_rows: Sequence[int] | None
    ) -> tuple[Tensor, ...]:
        """Products of one row, of two or three, and of more differ in the order of sums. Tokens are always more."""
        if solo_rows is None or set(solo_rows) == {len(x)}:
            return work(x)
        entries = list(zip(x.tolist(), solo_rows, strict=True))
        made = {entry: work(x.new_full((entry[1],), entry[0])) for entry in dict.fromkeys(entries)}
        parts = zip(*(made[entry] for entry in entries), strict=True)
        return tuple(torch.stack([part[0] for part in of_rows]) for of_rows in parts)

    def rotation(self, rotation: Rotation, padding: Padding | None) -> Rotation:
        return rotation

    def memories(self, conditions: Sequence[EncodedConditions]) -> list[list[tuple[Tensor, Tensor]]]:
        blocks = len(conditions[0].blocks)
        return [[condition.blocks[depth] for condition in conditions] for depth in range(blocks)]

    def factors(self, erg_temperature: Sequence[float] | Tensor, rotation: Rotation) -> Sequence[float] | Tensor:
        return erg_temperature

    def group_moments(self, x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
        moments = [_group_moments(row) for row in joint_rows(x, padding)]
        variance, mean = (torch.stack(moment) for moment in zip(*moments, strict=True))
        return variance, mean

    def row_moments(self, x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
        moments = [torch.std_mean(row, dim=(0, 1), keepdim=True) for row in joint_rows(x, padding)]
        std, mean = (torch.stack(moment) for moment in zip(*moments, strict=True))
        return std, mean

    def self_attention(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation, padding: Padding | None) -> Tensor:
        songs = zip(*(real_rows(tensor, padding) for tensor in (q, k, v)), strict=True)
        rows = [_linear_attention(queries, keys, values, rotation) for queries, keys, values in songs]
        return stack_rows(rows, q.shape[1]).to(q.dtype)

    def cross_attention(
        self,
        q: Tensor,
        rotation: Rotation,
        keys_values: Sequence[tuple[Tensor, Tensor]],
        factors: Sequence[float],
        padding: Padding | None,
    ) -> Tensor:
        q = rotate(q, rotation).to(q.dtype)
        scale = q.shape[-1] ** -0.5
        rows = [
            attend(row, *pair, factor * scale)
            for row, pair, factor in zip(real_rows(q, padding), keys_values, factors, strict=True)
        ]
        return stack_rows(rows, q.shape[1])


def _group_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean, each (1, G, 1), of x (T, G, C). Summing frames first takes a sixth of `var_mean`'s time."""
    count = x.shape[0] * x.shape[2]
    mean = x.sum(0, keepdim=True).sum(-1, keepdim=True) / count
    return (x - mean).square().sum(0, keepdim=True).sum(-1, keepdim=True) / count, mean


def _linear_attention(q: Tensor, k: Tensor, v: Tensor, rotation: Rotation) -> Tensor:
    """Attention of one song: q, k, v (T, H, d) to (T, D)."""
    rotation = rotation.first(len(q))
    q, k = rotate(q, rotation).relu_().transpose(0, 1), rotate(k, rotation).relu_().transpose(0, 1)
    v = v.float().transpose(0, 1)  # (H, T, d), as q and k
    numerator = q @ (k.mT @ v)
    denominator = q @ k.sum(dim=-2).unsqueeze(-1)
    return (numerator / (denominator + 1e-15)).transpose(0, 1).flatten(1)
