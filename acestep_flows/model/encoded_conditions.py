"""A condition as the transformer keeps it for a whole song."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True, eq=False)
class EncodedConditions:
    """A condition as the blocks use it: cross-attention keys and values, without masked tokens.

    `Transformer.encode_condition` makes one per song and guidance branch.

    Attributes:
        keys_values: (blocks, 2, H, S, d).
    """

    keys_values: Tensor

    @cached_property
    def blocks(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Keys and values of each block, (H, S, d) each."""
        return tuple((keys, values) for keys, values in self.keys_values)

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return self.keys_values.nbytes
