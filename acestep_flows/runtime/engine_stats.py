"""Statistics of the step engine: how full its turns are, and how fast it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WINDOW = 10.0
"""Seconds that rates and means look back."""


@dataclass(frozen=True)
class EngineStats:
    """A snapshot of the step engine.

    Attributes:
        songs: under way, those that are only about to begin included.
        present: of those, the ones that take turns.
        last_songs: that took part in the last turn.
        songs_per_turn: that recent turns advanced, on average: how well the batch is filled.
        budget: tokens that a turn may cost; falls when memory runs out, and comes back.
        occupancy: tokens of recent turns as a share of the budget, weighted by time; idle time counts as none.
        busy: share of recent time that was spent in turns.
        steps_per_second: steps of all songs together, recently.
        turns, steps, broken: since the start: turns, steps of all songs, shared passes that failed.
    """

    songs: int
    present: int
    last_songs: int
    songs_per_turn: float
    budget: int
    occupancy: float
    busy: float
    steps_per_second: float
    turns: int
    steps: int
    broken: int


@dataclass(frozen=True)
class EngineTurn:
    """One turn of the engine, times in seconds of the monotonic clock."""

    begun: float
    ended: float
    songs: int
    fill: float


@dataclass
class TurnRecorder:
    """Records the turns of the engine. Written in the engine's thread, read from any thread."""

    turns: int = 0
    steps: int = 0
    broken: int = 0
    recent: deque[EngineTurn] = field(default_factory=lambda: deque(maxlen=4096))
    since: float = field(default_factory=time.monotonic)

    @contextmanager
    def turn(self, tokens: int, songs: int, budget: int) -> Iterator[None]:
        """Record the turn that is made inside the context."""
        begun = time.monotonic()
        yield
        self.turns += 1
        self.steps += songs
        self.recent.append(EngineTurn(begun, time.monotonic(), songs, min(1.0, tokens / budget)))

    def stats(self, songs: int, present: int, budget: int) -> EngineStats:
        """A snapshot of the recorded turns and of the engine's present songs and budget."""
        now = time.monotonic()
        turns = [turn for turn in self.recent.copy() if turn.ended > now - WINDOW]
        span = max(1e-9, min(WINDOW, now - self.since))
        seconds = [turn.ended - max(turn.begun, now - span) for turn in turns]
        return EngineStats(
            songs=songs,
            present=present,
            last_songs=turns[-1].songs if turns else 0,
            songs_per_turn=sum(turn.songs for turn in turns) / len(turns) if turns else 0.0,
            budget=budget,
            occupancy=sum(turn.fill * each for turn, each in zip(turns, seconds, strict=True)) / span,
            busy=sum(seconds) / span,
            steps_per_second=sum(turn.songs for turn in turns) / span,
            turns=self.turns,
            steps=self.steps,
            broken=self.broken,
        )
