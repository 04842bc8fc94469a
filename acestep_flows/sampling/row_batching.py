"""Advance many songs by one step in shared forward passes, whatever their tasks and however far they are.

    for rows of the same network and of similar length:
        velocities = network(rows, padded)
    each song advances by the velocities of its own rows

The denoiser pads the rows of a pass (`sampling/denoiser.py`). Padding is exact and every song keeps noise and state of
its own, so a song comes out as it would alone, up to rounding: products of other sizes may be summed in another order.
On processors they are made as for the song alone, and no difference was found. Songs of `share_below` frames or more
share no pass, and come out bit for bit as they would alone. On processors passes
are made side by side, one in every lane. This holds for a single song too, as its guidance branches are rows like any
others.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from acestep_flows.model.threads import Lanes, shared_lanes
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import Denoiser
from acestep_flows.sampling.joint_turn import JointTurn, RowRef
from acestep_flows.sampling.recorded_passes import RecordedPasses
from acestep_flows.sampling.resident_state import JointState

Ask = Callable[[Any, Sequence[Any]], Sequence[Tensor]]
"""One forward pass: a network and rows in, the velocity of every row out."""

PADDING = 64
"""Frames of padding that cost less than a forward pass of their own, on two cores."""
PADDING_ON_DEVICES = 512
"""The same elsewhere; not measured yet."""
UNEVEN = 1.3
"""How unequal the shares of lanes may be. Beyond, passes one after the other with all cores are faster."""
SINGLE = Lanes(1)
RECORDINGS_BYTES = 4_000_000_000
"""Memory for recorded passes on a GPU, where nobody says how much."""


@dataclass(frozen=True)
class RowBatcher:
    """How songs are put into forward passes.

    Attributes:
        padding: frames of padding, over all rows, up to which rows of unequal length share a pass.
        ask: makes the passes in place of the songs' own denoisers, to watch or to break them.
        lanes: passes that are made side by side.
        share_below: frames from which on a song shares no pass with others; None: songs of any length share.
        recorded: makes the passes of songs that are on a GPU, where it has them recorded.
        on_broken: gets the songs of a shared pass that failed, and its error; each of them is then asked alone.
    """

    padding: int = PADDING
    ask: Ask | None = None
    lanes: Lanes = SINGLE
    on_broken: Callable[[Sequence[ActiveSong], Exception], None] | None = None
    share_below: int | None = None
    recorded: RecordedPasses | None = None

    @classmethod
    def on(cls, device: str) -> RowBatcher:
        """For the calling thread, on `device`: on a processor as many lanes as its operations have threads."""
        if device != "cpu":
            return cls(PADDING_ON_DEVICES, recorded=_recorded_in_this_thread() if device.startswith("cuda") else None)
        return cls(lanes=shared_lanes(torch.get_num_threads()))

    def step(self, songs: Sequence[ActiveSong]) -> list[ActiveSong | Exception]:
        """Every song one step on, in order; the error of a song that fails is returned in its place."""
        apart = [song for song in songs if not self._shares(song)]
        sharing = [song for song in songs if self._shares(song)]
        outcomes: dict[ActiveSong, ActiveSong | Exception] = {}
        for group in (sharing, *([song] for song in apart)):
            outcomes |= zip(group, self._step(group), strict=True)
        return [outcomes[song] for song in songs]

    def _shares(self, song: ActiveSong) -> bool:
        return self.share_below is None or song.trajectory.frames < self.share_below

    def _step(self, songs: Sequence[ActiveSong]) -> list[ActiveSong | Exception]:
        joint = [song for song in songs if song.joint is not None]
        outcomes = dict(zip(joint, self._step_jointly(joint), strict=True))
        apart = [song for song in songs if song.joint is None]
        outcomes |= zip(apart, self._step_apart(apart), strict=True)
        return [outcomes[song] for song in songs]

    @torch.inference_mode()
    def _step_jointly(self, songs: Sequence[ActiveSong]) -> list[ActiveSong | Exception]:
        """One turn of songs on a device. The host goes on before it has ended, but never far ahead."""
        if not songs:
            return []
        try:
            turn = JointTurn(songs)
            failed: dict[ActiveSong, Exception] = {}
            for refs in self.passes(songs, 1):
                failed |= self._forward_jointly(turn, refs)
            ended = turn.ends()
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks one song alone
            traceback.clear_frames(error.__traceback__)
            if len(songs) == 1:
                return [error]
            if self.on_broken is not None:
                self.on_broken(songs, error)
            return [outcome for song in songs for outcome in self._step_jointly([song])]
        self._keep_pace(songs)
        return [failed.get(before, after) for before, after in zip(songs, ended, strict=True)]

    def _forward_jointly(self, turn: JointTurn, refs: Sequence[RowRef]) -> dict[ActiveSong, Exception]:
        """As `_forward`; the answers go to `turn`, and the songs that fail are returned."""
        songs = list(dict.fromkeys(song for song, _ in refs))
        try:
            rows = [song.rows[index] for song, index in refs]
            turn.answer(refs, self._predict_stacked(turn.latents(refs), rows, songs[0]))
            return {}
        except Exception as error:  # noqa: BLE001 - as above
            traceback.clear_frames(error.__traceback__)
            if len(songs) == 1:
                return {songs[0]: error}
            if self.on_broken is not None:
                self.on_broken(songs, error)
        failed: dict[ActiveSong, Exception] = {}
        for song in songs:
            failed |= self._forward_jointly(turn, [ref for ref in refs if ref[0] is song])
        return failed

    def _keep_pace(self, songs: Sequence[ActiveSong]) -> None:
        """Wait until the device has ended the turn before this one."""
        for song in songs:
            if isinstance(song.state, JointState) and song.state.batch.made is not None:
                song.state.batch.made.synchronize()

    def _step_apart(self, songs: Sequence[ActiveSong]) -> list[ActiveSong | Exception]:
        lanes, passes = self._arranged(songs)
        rows = {(song, index): row for song in songs for index, row in enumerate(song.rows)}
        if len(songs) > 1:
            solo_passes = [refs for song in songs for refs in self._arranged([song])[1]]
            rows = {ref: replace(rows[ref], solo_rows=len(refs)) for refs in solo_passes for ref in refs}
        answers: dict[RowRef, Tensor | Exception] = {}
        for pass_answers in lanes.map(partial(self._forward, rows), passes):
            answers |= pass_answers
        return [_advance(song, [answers[song, index] for index in range(len(song.rows))]) for song in songs]

    def _arranged(self, songs: Sequence[ActiveSong]) -> tuple[Lanes, list[list[RowRef]]]:
        """The passes of some songs, and the lanes that make them."""
        passes = self.passes(songs, self.lanes.count)
        if _unevenness(passes, self.lanes.count) > UNEVEN:
            return SINGLE, self.passes(songs, 1)
        return self.lanes, passes

    def passes(self, songs: Sequence[ActiveSong], lanes: int) -> list[list[RowRef]]:
        """The rows of songs by pass: of one network, longest first, with little padding, each lane's share the same."""
        networks: dict[int, list[RowRef]] = {}
        for song in songs:
            refs = [(song, index) for index in range(len(song.rows))]
            networks.setdefault(id(song.denoiser.network), []).extend(refs)
        share = math.ceil(sum(song.tokens for song in songs) / lanes)
        return [refs for network_refs in networks.values() for refs in self._split(network_refs, share)]

    def _split(self, refs: Sequence[RowRef], share: int) -> list[list[RowRef]]:
        """Rows by pass. A cut is made where padding would cost more than another pass, or where a lane is full.

        A lane is full when the next row would exceed its share by more than half of that row.
        """
        passes: list[list[RowRef]] = []
        longest = spare = filled = 0
        for ref in sorted(refs, key=_frames, reverse=True):
            frames = _frames(ref)
            spare -= longest - frames
            if not passes or spare < 0 or filled + frames / 2 > share:
                passes.append([])
                longest, spare, filled = frames, self.padding, 0
            passes[-1].append(ref)
            filled += frames
        return passes

    def _forward(self, rows: Mapping[RowRef, Any], refs: Sequence[RowRef]) -> dict[RowRef, Tensor | Exception]:
        """One pass; if it fails, one pass per song, so that only the song to blame fails."""
        songs = list(dict.fromkeys(song for song, _ in refs))
        try:
            return dict(zip(refs, self._predict([rows[ref] for ref in refs], songs[0]), strict=True))
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks one song alone
            traceback.clear_frames(error.__traceback__)  # they hold the memory of the failed pass
            if len(songs) == 1:
                return dict.fromkeys(refs, error)
            if self.on_broken is not None:
                self.on_broken(songs, error)
        answers: dict[RowRef, Tensor | Exception] = {}
        for song in songs:
            answers |= self._forward(rows, [ref for ref in refs if ref[0] is song])
        return answers

    def _predict_stacked(self, latents: Tensor, rows: Sequence[Any], song: ActiveSong) -> Tensor:
        """The velocities of latents (B, 8, 16, T) that are stacked already; `rows` share the network of `song`."""
        network = song.denoiser.network
        if self.ask is None and self.recorded is not None and isinstance(network, Transformer):
            return self.recorded(network, latents, rows)
        if self.ask is None:
            return song.denoiser.predict_stacked(latents, rows)
        return Denoiser.predict_stacked(_Asked(partial(self.ask, song.denoiser.network)), latents, rows)

    def _predict(self, rows: Sequence[Any], song: ActiveSong) -> Sequence[Tensor]:
        """The velocities of rows that share the network of `song`."""
        return song.denoiser.predict(rows) if self.ask is None else self.ask(song.denoiser.network, rows)


_THREAD = threading.local()


def _recorded_in_this_thread() -> RecordedPasses:
    """Recordings outlive a batch of songs, but their inputs are for one thread at a time."""
    recorded: RecordedPasses | None = getattr(_THREAD, "recorded", None)
    if recorded is None:
        recorded = _THREAD.recorded = RecordedPasses(RECORDINGS_BYTES)
    return recorded


@dataclass(frozen=True, eq=False)
class _Asked(Denoiser):
    """Makes passes by a function."""

    ask: Callable[[Sequence[Any]], Sequence[Tensor]]

    def predict(self, rows: Sequence[Any]) -> Sequence[Tensor]:
        return self.ask(rows)


def _unevenness(passes: Sequence[Sequence[RowRef]], lanes: int) -> float:
    """The work of the fullest lane, in equal shares. A lane takes the next pass when it has finished one."""
    if not passes:
        return 1.0
    busy = [0] * min(lanes, len(passes))
    for refs in passes:
        busy[busy.index(min(busy))] += sum(map(_frames, refs))
    return max(busy) * len(busy) / sum(busy)


def _frames(ref: RowRef) -> int:
    song, index = ref
    return song.rows[index].query.frames


def _advance(song: ActiveSong, answers: Sequence[Tensor | Exception]) -> ActiveSong | Exception:
    velocities: list[Tensor] = []
    for answer in answers:
        if isinstance(answer, Exception):
            return answer
        velocities.append(answer)
    try:
        return song.advance(velocities)
    except Exception as error:  # noqa: BLE001 - as above
        return error
