"""Many songs at once, each one step on: whatever their tasks and wherever they stand, their calls share forward passes.

    for songs of the same network and of similar length:
        velocities = network(all their calls, padded)
    each song advances by its own velocities

Padding is exact and every song keeps noise and state of its own, so a song comes out as it would alone.
"""

from __future__ import annotations

import math
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.denoiser import Denoiser, Row, answer
from acestep_flows.sampling.trajectory import State, Trajectory

Ask = Callable[[Transformer, Sequence[Row]], Sequence[Tensor]]
"""One forward pass: the velocity of every row."""

PADDING = 64
"""Frames of padding that cost less than a forward pass of their own, on two cores; a GPU bears many more."""
TOKENS, SONGS = 8192, 8
"""How much `drive_all` takes on at once."""


@dataclass(frozen=True, eq=False)
class Underway:
    """A song and where it stands."""

    trajectory: Trajectory
    denoiser: Denoiser
    state: State

    @classmethod
    def begin(cls, trajectory: Trajectory, denoiser: Denoiser, state: State | None = None) -> Underway:
        """A song at `state`, or at its start, ready for its next step.

        Raises:
            InputError: `state` is of another song.
        """
        if state is None:
            state = trajectory.start()
        trajectory.check(state)
        return cls(trajectory, denoiser, state)._prepared()

    @property
    def done(self) -> bool:
        return self.trajectory.done(self.state)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What the next step asks of the network. Only before `done`."""
        return self.denoiser.rows(self.trajectory.calls(self.state))

    @property
    def frames(self) -> int:
        """The longest of the next step's rows."""
        return max(row.call.frames for row in self.rows)

    @property
    def tokens(self) -> int:
        """What the next step costs: frames times branches."""
        return 0 if self.done else sum(row.call.frames for row in self.rows)

    def advance(self, velocities: Sequence[Tensor]) -> Underway:
        """The song one step on; what it asks next is worked out already."""
        state = self.trajectory.advance(self.state, [velocity.float().cpu() for velocity in velocities])
        return replace(self, state=state)._prepared()

    def _prepared(self) -> Underway:
        if not self.done:
            _ = self.rows
        return self


@dataclass(frozen=True)
class Forwards:
    """How songs are put into forward passes.

    Attributes:
        padding: frames of padding, over all rows, up to which songs of unequal length share a pass.
        ask: makes the pass.
        lanes: passes that are made side by side, if there are several songs.
        threads: what makes several of them; None for one lane.
        on_broken: told of a pass of several songs that failed; each of them is then asked alone.
    """

    padding: int = PADDING
    ask: Ask = answer
    lanes: int = 1
    threads: Executor | None = None
    on_broken: Callable[[Sequence[Underway], Exception], None] | None = None

    def step(self, songs: Sequence[Underway]) -> list[Underway | Exception]:
        """Every song one step on, in order; what breaks for one song is returned in its place."""
        groups = self.grouped(songs)
        # A single pass has all cores to itself, in the calling thread.
        side_by_side = self.threads if len(groups) > 1 else None
        moved = map(self._moved, groups) if side_by_side is None else side_by_side.map(self._moved, groups)
        outcomes = {
            song: outcome for group in zip(groups, moved, strict=True) for song, outcome in zip(*group, strict=True)
        }
        return [outcomes[song] for song in songs]

    def grouped(self, songs: Sequence[Underway]) -> list[list[Underway]]:
        """Songs that share a pass: of one network, longest first, with little padding."""
        networks: dict[int, list[Underway]] = {}
        for song in sorted(songs, key=lambda song: -song.frames):
            networks.setdefault(id(song.denoiser.transformer), []).append(song)
        share = math.ceil(sum(song.tokens for song in songs) / self.lanes)
        return [group for network in networks.values() for group in self._split(network, share)]

    def _split(self, songs: Sequence[Underway], share: int) -> list[list[Underway]]:
        """Songs, longest first, cut where padding would cost more than another pass, and where a lane has its share."""
        groups, spare = [[songs[0]]], self.padding
        for song in songs[1:]:
            spare -= groups[-1][0].frames * len(song.rows) - song.tokens
            if spare < 0 or sum(each.tokens for each in groups[-1]) >= share:
                groups.append([])
                spare = self.padding
            groups[-1].append(song)
        return groups

    def _moved(self, songs: list[Underway]) -> list[Underway | Exception]:
        return [_advanced(*pair) for pair in zip(songs, self._answered(songs), strict=True)]

    def _answered(self, songs: list[Underway]) -> list[Sequence[Tensor] | Exception]:
        try:
            return self._asked(songs)
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks one song alone
            traceback.clear_frames(error.__traceback__)  # they hold the memory of the failed pass
            if len(songs) == 1:
                return [error]
            if self.on_broken is not None:
                self.on_broken(songs, error)
        return [outcome for song in songs for outcome in self._answered([song])]

    def _asked(self, songs: Sequence[Underway]) -> list[Sequence[Tensor] | Exception]:
        velocities = iter(self.ask(songs[0].denoiser.transformer, [row for song in songs for row in song.rows]))
        return [[next(velocities) for _ in song.rows] for song in songs]


def _advanced(song: Underway, velocities: Sequence[Tensor] | Exception) -> Underway | Exception:
    if isinstance(velocities, Exception):
        return velocities
    try:
        return song.advance(velocities)
    except Exception as error:  # noqa: BLE001 - as above
        return error


def drive_all(
    begins: Sequence[Callable[[], Underway]],
    on_step: Callable[[int, Underway], None],
    forwards: Forwards | None = None,
    *,
    tokens: int = TOKENS,
    songs: int = SONGS,
) -> Iterator[tuple[int, Underway | Exception]]:
    """Take many songs to their ends, and give each with its index as soon as it is there.

    Args:
        begins: give the songs; called when there is room.
        on_step: told of every new state; ends the song by raising.
        forwards: None: as they are by default.
        tokens, songs: how much is under way at once, if more than one song is.
    """
    forwards = Forwards() if forwards is None else forwards
    waiting = deque(enumerate(begins))
    going: dict[int, Underway] = {}
    while waiting or going:
        while waiting and (not going or (len(going) < songs and sum(each.tokens for each in going.values()) < tokens)):
            index, begin = waiting.popleft()
            try:
                going[index] = begin()
            except Exception as error:  # noqa: BLE001 - as above
                yield index, error
        moving = [(index, song) for index, song in going.items() if not song.done]
        after = forwards.step([song for _, song in moving])
        for (index, _), outcome in zip(moving, after, strict=True):
            del going[index]
            ended = outcome if isinstance(outcome, Exception) else _heard(on_step, index, outcome)
            if isinstance(ended, Exception) or ended.done:
                yield index, ended
            else:
                going[index] = ended
        for index in [index for index, song in going.items() if song.done]:
            yield index, going.pop(index)  # was done when it began


def _heard(on_step: Callable[[int, Underway], None], index: int, song: Underway) -> Underway | Exception:
    try:
        on_step(index, song)
    except Exception as error:  # noqa: BLE001 - as above
        return error
    return song
