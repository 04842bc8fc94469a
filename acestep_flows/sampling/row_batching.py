"""Songs in forward passes: each one step on, whatever their tasks and wherever they stand.

    for rows of the same network and of similar length:
        velocities = network(rows, padded)
    each song advances by the velocities of its own rows

Padding is exact and every song keeps noise and state of its own, so a song comes out as it would alone. On processors
passes are made side by side, one in every lane: also those of a single song, whose guidance branches are rows like any
others.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.model.threads import Lanes, shared_lanes
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import DenoiserRow, predict_velocities

Ask = Callable[[Transformer, Sequence[DenoiserRow]], Sequence[Tensor]]
"""One forward pass: the velocity of every row."""

PADDING = 64
"""Frames of padding that cost less than a forward pass of their own, on two cores; a GPU bears many more."""
UNEVEN = 1.3
"""How unequal the shares of lanes may be. Beyond, one pass after the other with all cores is done sooner."""
SINGLE = Lanes(1)


RowRef = tuple[ActiveSong, int]
"""A song, and which of the rows of its next step."""


@dataclass(frozen=True)
class RowBatcher:
    """How songs are put into forward passes.

    Attributes:
        padding: frames of padding, over all rows, up to which rows of unequal length share a pass.
        ask: makes the pass.
        lanes: passes that are made side by side.
        on_broken: told of a pass of several songs that failed; each of them is then asked alone.
    """

    padding: int = PADDING
    ask: Ask = predict_velocities
    lanes: Lanes = SINGLE
    on_broken: Callable[[Sequence[ActiveSong], Exception], None] | None = None

    @classmethod
    def on(cls, device: str) -> RowBatcher:
        """For the calling thread, on `device`: on a processor as many lanes as its operations have threads."""
        if device != "cpu":
            return cls()
        return cls(lanes=shared_lanes(torch.get_num_threads()))

    def step(self, songs: Sequence[ActiveSong]) -> list[ActiveSong | Exception]:
        """Every song one step on, in order; what breaks for one song is returned in its place."""
        lanes, passes = self.lanes, self.passes(songs, self.lanes.count)
        if _unevenness(passes, lanes.count) > UNEVEN:
            lanes, passes = SINGLE, self.passes(songs, 1)
        found: dict[RowRef, Tensor | Exception] = {}
        for answers in lanes.map(self._answered, passes):
            found |= answers
        return [_advanced(song, [found[song, index] for index in range(len(song.rows))]) for song in songs]

    def passes(self, songs: Sequence[ActiveSong], lanes: int) -> list[list[RowRef]]:
        """The rows of songs by pass: of one network, longest first, with little padding, each lane's share the same."""
        networks: dict[int, list[RowRef]] = {}
        for song in songs:
            own = [(song, index) for index in range(len(song.rows))]
            networks.setdefault(id(song.denoiser.transformer), []).extend(own)
        share = math.ceil(sum(song.tokens for song in songs) / lanes)
        return [one for places in networks.values() for one in self._split(places, share)]

    def _split(self, places: Sequence[RowRef], share: int) -> list[list[RowRef]]:
        """Rows, cut where padding would cost more than another pass, and where a lane has its share but half a row."""
        passes: list[list[RowRef]] = []
        longest = spare = filled = 0
        for place in sorted(places, key=_frames, reverse=True):
            frames = _frames(place)
            spare -= longest - frames
            if not passes or spare < 0 or filled + frames / 2 > share:
                passes.append([])
                longest, spare, filled = frames, self.padding, 0
            passes[-1].append(place)
            filled += frames
        return passes

    def _answered(self, places: Sequence[RowRef]) -> dict[RowRef, Tensor | Exception]:
        songs = list(dict.fromkeys(song for song, _ in places))
        try:
            rows = [song.rows[index] for song, index in places]
            return dict(zip(places, self.ask(songs[0].denoiser.transformer, rows), strict=True))
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks one song alone
            traceback.clear_frames(error.__traceback__)  # they hold the memory of the failed pass
            if len(songs) == 1:
                return dict.fromkeys(places, error)
            if self.on_broken is not None:
                self.on_broken(songs, error)
        found: dict[RowRef, Tensor | Exception] = {}
        for song in songs:
            found |= self._answered([place for place in places if place[0] is song])
        return found


def _unevenness(passes: Sequence[Sequence[RowRef]], lanes: int) -> float:
    """What the fullest lane has to do, in shares of equal size. A lane takes the next pass when it is done with one."""
    if not passes:
        return 1.0
    busy = [0] * min(lanes, len(passes))
    for places in passes:
        busy[busy.index(min(busy))] += sum(map(_frames, places))
    return max(busy) * len(busy) / sum(busy)


def _frames(place: RowRef) -> int:
    song, index = place
    return song.rows[index].call.frames


def _advanced(song: ActiveSong, velocities: Sequence[Tensor | Exception]) -> ActiveSong | Exception:
    given: list[Tensor] = []
    for velocity in velocities:
        if isinstance(velocity, Exception):
            return velocity
        given.append(velocity)
    try:
        return song.advance(given)
    except Exception as error:  # noqa: BLE001 - as above
        return error
