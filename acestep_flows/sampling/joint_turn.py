"""One step of many songs as one batch on a device: as many operations for sixteen songs as for one.

    turn = JointTurn(songs)           gather registers, noise and numbers
    turn.latents(rows)                what the network is asked about
    turn.answer(rows, velocities)
    turn.ends()                       guidance and solvers: the songs one step on

`joint_step.py` says what a step is made of. Nothing here reads a tensor's content, so the host never waits.
S songs, N = 8 * 16 * T numbers of a register, padded to the longest song.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from acestep_flows.model.copy_out import mark
from acestep_flows.model.transfer import on_device
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.joint_formulas import guided, shifted, weighted_sums
from acestep_flows.sampling.joint_numbers import TurnNumbers
from acestep_flows.sampling.joint_step import FRAME, KEPT, JointStep, Register
from acestep_flows.sampling.resident_state import JointBatch, JointState, ResidentState, carried_by, noises_of
from acestep_flows.sampling.trajectory import State

RowRef = tuple[ActiveSong, int]
"""A song, and the index of one of the rows of its next step."""


class JointTurn:
    """The next step of songs that are on one device, each with a `joint` step."""

    def __init__(self, songs: Sequence[ActiveSong]) -> None:
        self.songs = songs
        self.steps = [_step(song) for song in songs]
        self.frames = [step.queries[0].frames for step in self.steps]
        self.width, self.device = max(self.frames), songs[0].denoiser.device
        self._index = {song: index for index, song in enumerate(songs)}
        self._drawn = {
            song: noises_of(song.state, step, frames)
            for song, step, frames in zip(songs, self.steps, self.frames, strict=True)
            if step.noises
        }
        self._host = TurnNumbers(self.steps, self.frames, max(step.noises for step in self.steps))
        self._numbers = self._host.sent(self.device)
        self._registers = self._gathered()
        self._before = torch.cat((self._registers, self._noise()), dim=1) if self._drawn else self._registers
        self._answers = torch.zeros(len(songs) * self._host.answers, *FRAME, self.width, device=self.device)

    def latents(self, refs: Sequence[RowRef]) -> Tensor:
        """(B, 8, 16, T): what the rows ask the network about, padded to the longest of them."""
        asks = self._asked.shape[0] // len(self.songs)
        rows = [self._index[song] * asks + _step(song).queries[row].ask for song, row in refs]
        longest = max(_step(song).queries[row].frames for song, row in refs)
        return _cut(self._asked, longest).index_select(0, _places(tuple(rows), self.device))

    def answer(self, refs: Sequence[RowRef], velocities: Tensor) -> None:
        """Take the network's answers (B, 8, 16, T) to rows; what they are beyond a row's frames does not matter."""
        rows = [self._index[song] * self._host.answers + row for song, row in refs]
        velocities = _cut(velocities, self.width)
        _cut(self._answers, velocities.shape[-1]).index_copy_(0, _places(tuple(rows), self.device), velocities)

    def ends(self) -> list[ActiveSong]:
        """The songs one step on, in order."""
        numbers, songs = self._numbers, len(self.songs)
        combined, velocity = self._guided()
        if "granularity" in numbers:
            velocity = torch.cat((velocity, shifted(velocity, numbers["granularity"], numbers["share"])), dim=1)
        if "granularity" in numbers or "moving" in numbers:
            velocity = velocity * numbers.get("moving", numbers["real"])
        parts = (self._before, *combined, velocity.view(songs, -1, self._before.shape[2]))
        batch = JointBatch(weighted_sums(numbers["sums"], torch.cat(parts, dim=1)), mark(self.device))
        return [self._moved(song, batch, index) for index, song in enumerate(self.songs)]

    def _moved(self, song: ActiveSong, batch: JointBatch, index: int) -> ActiveSong:
        carried = dict(carried_by(song.state))
        if song in self._drawn:
            _, carried["draws"] = self._drawn[song]
        places, frames, at = self.steps[index].memory, self.frames[index], song.state.step + 1
        return song.at(JointState(song.trajectory, at, batch, index, frames, places, carried))

    @cached_property
    def _asked(self) -> Tensor:
        """(S * asks, 8, 16, T)."""
        if "asks" in self._numbers:
            asked = weighted_sums(self._numbers["asks"], self._before)
        else:
            asked = self._registers[:, Register.LATENTS]
        return asked.view(-1, *FRAME, self.width)

    def _gathered(self) -> Tensor:
        """(S, KEPT, N): as the last turn left it, or gathered where songs came or went."""
        batches = _by_batch([song.state for song in self.songs])
        for batch, places in batches.items():
            in_place = places == [(place, place) for place in range(len(self.songs))]
            if in_place and batch.registers.shape == (len(self.songs), KEPT, FRAME[0] * FRAME[1] * self.width):
                return batch.registers
        gathered = torch.zeros(len(self.songs), KEPT, *FRAME, self.width, device=self.device)
        for batch, places in batches.items():
            kept = _cut(batch.registers.unflatten(2, (*FRAME, -1)), self.width)
            sources, targets = on_device(torch.tensor(places), self.device).unbind(1)
            _cut(gathered, kept.shape[-1]).index_copy_(0, targets, kept.index_select(0, sources))
        for place, song in enumerate(self.songs):
            if not isinstance(song.state, JointState):
                state = song.state.on_device() if isinstance(song.state, ResidentState) else song.state
                for register, tensor in song.trajectory.registers(state).items():
                    _cut(gathered[place, register], tensor.shape[-1]).copy_(on_device(tensor, self.device))
        return gathered.flatten(2)

    def _noise(self) -> Tensor:
        """What songs draw in this turn, (S, draws, N)."""
        padded = torch.zeros(len(self._drawn), self._host.noises, *FRAME, self.width)
        for place, (noises, _) in zip(padded, self._drawn.values(), strict=True):
            for number, noise in enumerate(noises):
                place[number, ..., : noise.shape[-1]] = noise
        noise = on_device(padded.flatten(2), self.device)
        if len(self._drawn) == len(self.songs):
            return noise
        places = _places(tuple(self._index[song] for song in self._drawn), self.device)
        return noise.new_zeros(len(self.songs), *noise.shape[1:]).index_copy_(0, places, noise)

    def _guided(self) -> tuple[Sequence[Tensor], Tensor]:
        """Base and difference of each guide (S, 2 G, N), if they are needed, and its velocity (S, G, 8, 16, T)."""
        numbers, songs = self._numbers, len(self.songs)
        answers = self._answers.view(songs, -1, *FRAME, self.width)
        answers = torch.where(numbers["real"].bool(), answers, 0.0)
        if "guides" not in numbers:
            return (), answers
        answers = answers.flatten(2)
        if self._host.running:
            answers = torch.cat((answers, self._registers[:, Register.RUNNING : Register.RUNNING + 1]), dim=1)
        combined = weighted_sums(numbers["guides"], answers)
        if not self._host.limited:
            return (), combined.view(songs, -1, *FRAME, self.width)
        on_base, push, fit = numbers["factors"].unbind()
        used = fit if "cfg_star" in self._host.formulas else None
        velocity = guided(combined.view(-1, 2, *FRAME, self.width), on_base, push, used)
        return (combined,), velocity.view(songs, -1, *FRAME, self.width)


@lru_cache(maxsize=256)
def _places(places: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices on the device, kept as long as the same songs are together."""
    return on_device(places, device)


def _cut(tensor: Tensor, frames: int) -> Tensor:
    """At most that many frames, the last axis."""
    return tensor if tensor.shape[-1] <= frames else tensor[..., :frames]


def _by_batch(states: Sequence[State]) -> dict[JointBatch, list[tuple[int, int]]]:
    """For each batch that states are in: their places in the batch, and among `states`."""
    batches: dict[JointBatch, list[tuple[int, int]]] = {}
    for place, state in enumerate(states):
        if isinstance(state, JointState):
            batches.setdefault(state.batch, []).append((state.index, place))
    return batches


def _step(song: ActiveSong) -> JointStep:
    assert song.joint is not None
    return song.joint
