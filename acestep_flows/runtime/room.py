"""How much a turn of the step engine may hold: less once memory has run out, and by and by as much again.

What took the memory is often gone later: another process on the device, a control branch, a decoder at work.
"""

from __future__ import annotations

TURNS = 200
"""Turns that have to go well before they may hold more."""

PATIENCE = 32
"""How many times longer than at first they have to go well, at the most, where memory runs out again and again."""


class Room:
    """Tokens that one turn may cost.

    Attributes:
        tokens: as many now.
    """

    def __init__(self, tokens: int, turns: int = TURNS) -> None:
        self.tokens = self._most = tokens
        self._turns, self._patience, self._quiet = turns, 1, 0

    def ran_out(self, tokens: int) -> None:
        """Memory did not do for a pass of so many tokens."""
        if self.tokens < self._most:
            self._patience = min(2 * self._patience, PATIENCE)
        self.tokens = max(1, min(self.tokens, tokens // 2))
        self._quiet = 0

    def held(self) -> None:
        """A turn went well."""
        if self.tokens == self._most:
            self._patience = 1
            return
        self._quiet += 1
        if self._quiet >= self._turns * self._patience:
            self.tokens = min(self._most, self.tokens + max(1, self.tokens // 4))
            self._quiet = 0
