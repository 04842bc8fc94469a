"""Which frames of a padded batch are real, so that songs of unequal length can share one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padding:
    """Real lengths of a right-padded batch.

    Attention never looks at padded frames. What upstream leaves open are its two other places where frames meet:
    `exact` closes them (normalisation statistics over real frames, zeros beyond the end for the depthwise
    convolution), and every song equals its solo result. Without `exact` the original's behaviour is met.

    Attributes:
        frames: real frames of each row.
        mask: (B, T, 1), 1 on real frames.
        exact: whether padding must not change a result.
    """

    frames: tuple[int, ...]
    mask: Tensor
    exact: bool

    @classmethod
    def of(cls, frames: Sequence[int] | None, latents: Tensor, dtype: torch.dtype, exact: bool) -> Padding | None:
        """The padding of latents (B, 8, 16, T); None when every frame is real."""
        if frames is None:
            return None
        batch, *_, width = latents.shape
        if len(frames) != batch or not all(0 < count <= width for count in frames):
            raise ValueError(f"{batch} rows of {width} frames cannot have lengths {list(frames)}")
        if min(frames) == width:
            return None
        positions = torch.arange(width, device=latents.device)
        lengths = torch.tensor(frames, device=latents.device)
        mask = (positions < lengths.unsqueeze(1)).unsqueeze(-1).to(dtype)
        return cls(tuple(frames), mask, exact)


def real_rows(x: Tensor, padding: Padding | None) -> list[Tensor]:
    """The rows of x (B, T, ...) that joint statistics run over, each (1, n, ...): real frames alone if exact."""
    if padding is None or not padding.exact:
        return list(x.split(1))
    return [row[:, :count] for row, count in zip(x.split(1), padding.frames, strict=True)]
