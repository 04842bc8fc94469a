"""The shapes that forward passes are rounded up to, so that few recordings serve all passes."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

ROWS = (1, 2, 4, 8, 16, 32, 64)
FRAMES, MOST_FRAMES = 64, 2624
"""Frames are rounded up to a multiple of the first, up to the second: 244 s."""
TOKENS, MOST_TOKENS = 128, 4096
"""The same of the tokens of conditions."""


class PassShape(NamedTuple):
    """The sizes of a pass.

    Attributes:
        controlled: whether some row has a control track.
    """

    rows: int
    frames: int
    tokens: int
    controlled: bool

    def rounded_up(self) -> PassShape | None:
        """The shape that such a pass is padded to; None where it is beyond all of them."""
        if self.rows > ROWS[-1] or self.frames > MOST_FRAMES or self.tokens > MOST_TOKENS:
            return None
        rows = ROWS[bisect_left(ROWS, self.rows)]
        return PassShape(rows, _multiple(self.frames, FRAMES), _multiple(self.tokens, TOKENS), self.controlled)


def _multiple(size: int, step: int) -> int:
    return -(-size // step) * step
