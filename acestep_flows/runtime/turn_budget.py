"""Who takes part in the next turn when not everybody fits: deficit round robin, by tokens.

Everybody who waits earns the same credit, and a step is paid with as much credit as it costs. So songs get equal
shares of the work whatever their length: a short one takes many steps while a long one takes few, and nobody waits for
a whole song of another. Instead of going round with a fixed quantum, all are given at once what the next one lacks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

TURNS = 200
"""Turns that have to go well before they may hold more."""

PATIENCE = 32
"""How many times longer than at first they have to go well, at the most, where memory runs out again and again."""


class TokenBudget:
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


K = TypeVar("K", bound=Hashable)


class DeficitRoundRobin(Generic[K]):
    """Shares turns of at most `budget` tokens among whoever has something to do.

    Nobody starves: who is owed the most goes first, and goes even when larger than the budget; each turn that passes
    somebody over raises what that one is owed.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._credit: dict[K, int] = {}

    def pick(self, costs: Mapping[K, int]) -> list[K]:
        """Who takes part in this turn, of those that wait, by what the step of each costs (at least 1).

        At least one does. Who is absent from `costs` has nothing to do and keeps nothing.
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
