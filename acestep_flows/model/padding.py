"""Padding of a batch: songs of unequal length share one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.model.transfer import on_device


@dataclass(frozen=True)
class Padding:
    """Real lengths of a right-padded batch.

    Attention never reads padded frames. Two other operations mix frames: the statistics of GroupNorm and the depthwise
    convolution. With `exact` the statistics run over real frames and the convolution reads zeros beyond the end, so
    every song equals its solo result. Without `exact` both read padded frames, as upstream does.

    Attributes:
        frames: real frames of each row.
        mask: (B, T, 1), 1 on real frames.
        exact: whether a result must not depend on the padding.
    """

    frames: tuple[int, ...]
    mask: Tensor
    exact: bool

    @classmethod
    def of(cls, frames: Sequence[int] | None, latents: Tensor, dtype: torch.dtype, exact: bool) -> Padding | None:
        """The padding of latents (B, 8, 16, T); None when every frame is real.

        Raises:
            ValueError: `frames` does not fit the batch.
        """
        if frames is None:
            return None
        batch, *_, width = latents.shape
        if len(frames) != batch or not all(0 < count <= width for count in frames):
            raise ValueError(f"{batch} rows of {width} frames cannot have lengths {list(frames)}")
        if min(frames) == width:
            return None
        lengths = on_device(frames, latents.device)
        return cls(tuple(frames), _mask(lengths, width, dtype), exact)

    @classmethod
    def on_device(cls, lengths: Tensor, width: int, dtype: torch.dtype) -> Padding:
        """The exact padding for lengths (B,) that only the device knows; `frames` is empty."""
        padding = cls((), _mask(lengths, width, dtype), exact=True)
        padding.__dict__["lengths"] = lengths
        return padding

    @cached_property
    def lengths(self) -> Tensor:
        """`frames` as a tensor (B,), on the device of the mask."""
        return on_device(self.frames, self.mask.device)


def _mask(lengths: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    positions = torch.arange(width, device=lengths.device)
    return (positions < lengths.unsqueeze(1)).unsqueeze(-1).to(dtype)


def real_rows(x: Tensor, padding: Padding | None) -> list[Tensor]:
    """The rows of x (B, T, ...), each (n, ...), cut to their real frames."""
    if padding is None:
        return list(x)
    return [row[:count] for row, count in zip(x, padding.frames, strict=True)]


def joint_rows(x: Tensor, padding: Padding | None) -> list[Tensor]:
    """The rows of x over which joint statistics run: only real frames if the padding is exact."""
    return real_rows(x, padding if padding is not None and padding.exact else None)


def stack_rows(rows: Sequence[Tensor], width: int) -> Tensor:
    """Stack rows (n, C) of any length to (B, T, C) with T = `width`; padded frames are zeros."""
    if len(rows) == 1 and len(rows[0]) == width:
        return rows[0].unsqueeze(0)
    return torch.stack([row if len(row) == width else pad(row, (0, 0, 0, width - len(row))) for row in rows])
