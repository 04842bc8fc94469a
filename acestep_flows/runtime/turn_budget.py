"""Which songs take part in the next turn when not all of them fit: deficit round robin, by tokens.

All waiting songs earn the same credit, and a step costs as much credit as it has tokens. So songs get equal shares of
the work whatever their length: a short one makes many steps while a long one makes few, and none waits for a whole song
of another. Instead of a fixed quantum per round, all are given at once the credit that the next one lacks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

TURNS = 200
"""Turns without running out of memory after which the budget grows."""

PATIENCE = 32
"""The most by which TURNS is multiplied where memory runs out again and again."""


class TokenBudget:
    """The budget of tokens of one turn: falls when memory runs out, and grows back.

    Attributes:
        tokens: the budget now.
    """

    def __init__(self, tokens: int, turns: int = TURNS) -> None:
        self.tokens = self._most = tokens
        self._turns, self._patience, self._quiet = turns, 1, 0

    def ran_out(self, tokens: int) -> None:
        """A pass of this many tokens ran out of memory."""
        if self.tokens < self._most:
            self._patience = min(2 * self._patience, PATIENCE)
        self.tokens = max(1, min(self.tokens, tokens // 2))
        self._quiet = 0

    def held(self) -> None:
        """A turn fitted into memory."""
        if self.tokens == self._most:
            self._patience = 1
            return
        self._quiet += 1
        if self._quiet >= self._turns * self._patience:
            self.tokens = min(self._most, self.tokens + max(1, self.tokens // 4))
            self._quiet = 0


K = TypeVar("K", bound=Hashable)


class DeficitRoundRobin(Generic[K]):
    """Shares turns of at most `budget` tokens among participants.

    Nobody starves: the participant that is owed the most goes first, even when it is larger than the budget, and each
    turn without it raises what it is owed.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._credit: dict[K, int] = {}

    def pick(self, costs: Mapping[K, int]) -> list[K]:
        """The participants of this turn, at least one.

        Args:
            costs: tokens that a step of each waiting participant costs, at least 1. One that is absent has nothing to
                do and loses its credit.
        """
        if sum(costs.values()) <= self.budget:
            self._credit = {}
            return list(costs)
        credit = self._credit = {key: self._credit.get(key, 0) for key in costs}
        picked: list[K] = []
        waiting, room = dict(costs), self.budget
        while fitting := [key for key, cost in waiting.items() if cost <= room or not picked]:
            lacking = min(costs[key] - credit[key] for key in fitting)
            if lacking > 0:
                for key in credit:
                    credit[key] += lacking
            first = max(fitting, key=lambda key: credit[key] - costs[key])
            picked.append(first)
            room -= waiting.pop(first)
            credit[first] = min(credit[first] - costs[first], costs[first])  # one step a turn: more is of no use
        return picked
