"""The operations in which frames of a song meet; everything else in the network treats each frame for itself.

They are where rows of unequal length need care, and where devices differ. A processor wants one row at a time in its
cache. A GPU wants few kernels, whatever the number of rows. Both forms give the same result up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from acestep_flows.model.all_rows import AllRows
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.padding import Padding
from acestep_flows.model.rope import Rotation
from acestep_flows.model.row_by_row import RowByRow


class FrameMixing(Protocol):
    """B rows (songs), T frames, H heads, d channels of a head, D = H d. What is `Any` passes through the layers."""

    def per_row(
        self, work: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor, solo_rows: Sequence[int] | None
    ) -> tuple[Tensor, ...]:
        """`work` on x (B,) with one entry for each row, as each row has it in a pass of its `solo_rows` rows."""

    def rotation(self, rotation: Rotation, padding: Padding | None) -> Rotation:
        """The rotation as both attentions take it, made once a pass."""

    def memories(self, conditions: Sequence[EncodedConditions]) -> Sequence[Any]:
        """What the rows of a pass attend to, by block."""

    def factors(self, erg_temperature: Sequence[float] | Tensor, rotation: Rotation) -> Any:
        """The factors on the queries of each row, as cross-attention takes them."""

    def group_moments(self, x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
        """Variance and mean, each (B, 1, G, 1), of the groups of x (B, T, G, C)."""

    def row_moments(self, x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
        """Standard deviation and mean of each row of x (B, T, D), each (B, 1, 1)."""

    def self_attention(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation, padding: Padding | None) -> Tensor:
        """Linear attention among the frames of each row: (B, T, H, d) to (B, T, D)."""

    def cross_attention(
        self, q: Tensor, rotation: Rotation, keys_values: Any, factors: Any, padding: Padding | None
    ) -> Tensor:
        """Softmax attention of each row's frames (B, T, H, d) to its own condition, to (B, T, D)."""


FORMS: dict[str, FrameMixing] = {"cpu": RowByRow()}
"""By kind of device; every other device takes all rows at once."""
_ALL_ROWS = AllRows()


def frame_mixing(device: torch.device) -> FrameMixing:
    """The form for tensors on `device`. This is the one place where it is chosen."""
    return FORMS.get(device.type, _ALL_ROWS)
