"""States of songs whose tensors stay on the device until somebody wants to see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from acestep_flows.model.copy_out import copied_out
from acestep_flows.sampling.joint_step import FRAME, JointStep, Register
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.trajectory import State, Trajectory

CARRIED = ("draws", "song")
"""What a state's memory has besides registers: it passes through steps in numbers as it is."""

Drawn = tuple[Sequence[Tensor], Tensor]
"""Noises, and the position behind them."""


class ResidentState(State):
    """A state that copies its tensors to the CPU when one of them is first asked for."""

    def __init__(self, step: int) -> None:
        object.__setattr__(self, "step", step)  # states are frozen

    def on_device(self) -> State:
        """The same state with its tensors where they are."""
        raise NotImplementedError

    @cached_property
    def _copy(self) -> State:
        state = self.on_device()
        memory = {name: copied_out(tensor) for name, tensor in state.memory.items()}
        return State(state.step, copied_out(state.latents), copied_out(state.preview), memory)

    def fetched(self) -> State:
        return self._copy

    @property
    def latents(self) -> Tensor:
        return self._copy.latents

    @property
    def preview(self) -> Tensor:
        return self._copy.preview

    @property
    def memory(self) -> Mapping[str, Tensor]:
        return self._copy.memory


class SingleState(ResidentState):
    """The state of a song that made its step by itself on the device."""

    def __init__(self, state: State) -> None:
        super().__init__(state.step)
        self.__dict__["_state"] = state

    @property
    def names(self) -> Collection[str]:
        return self.on_device().memory.keys()

    def on_device(self) -> State:
        state: State = self.__dict__["_state"]
        return state


@dataclass(frozen=True, eq=False)
class JointBatch:
    """What songs of a turn are after it. Nothing changes it, so states may refer to it as long as they like.

    Attributes:
        registers: (S, KEPT, 8 * 16 * T); frames beyond a song's length are zero.
        made: the mark behind which it is there.
    """

    registers: Tensor
    made: Any = None

    def of(self, index: int, frames: int) -> Tensor:
        """The registers of one song, (KEPT, 8, 16, frames)."""
        registers: Tensor = self.registers[index].unflatten(1, (*FRAME, -1))
        return registers[..., :frames]


class JointState(ResidentState):
    """The state of one song of a batch.

    Args:
        index: of the song in `batch`.
        frames: of its registers.
        places: where the tensors of its memory are, by name.
        carried: the rest of its memory.
    """

    def __init__(
        self, trajectory: Trajectory, step: int, batch: JointBatch, index: int, frames: int,
        places: Mapping[str, Register], carried: Mapping[str, Tensor],
    ) -> None:  # fmt: skip
        super().__init__(step)
        self.__dict__.update(
            trajectory=trajectory, batch=batch, index=index, frames=frames, places=places, carried=carried
        )
        self.__dict__["drawn"] = self._draw_ahead()

    trajectory: Trajectory
    batch: JointBatch
    index: int
    frames: int
    places: Mapping[str, Register]
    carried: Mapping[str, Tensor]
    drawn: Future[Drawn] | None

    @property
    def names(self) -> Collection[str]:
        return {*self.places, *self.carried}

    def on_device(self) -> State:
        registers = self.batch.of(self.index, self.frames)
        return self.trajectory.state_of(self.step, registers, self.places, self.carried)

    @cached_property
    def _copy(self) -> State:
        registers = copied_out(self.batch.of(self.index, self.frames), self.batch.made)
        carried = {name: copied_out(tensor) for name, tensor in self.carried.items()}
        return self.trajectory.state_of(self.step, registers, self.places, carried)

    def _draw_ahead(self) -> Future[Drawn] | None:
        """The noise of the next step, drawn while the device is busy with this one."""
        if self.trajectory.done(self):
            return None
        step = self.trajectory.joint_step(self.step, self.names)
        if step is None or not step.noises:
            return None
        return _drawing().submit(draw, step, self.carried["draws"], self.trajectory.frames)


def noises_of(state: State, step: JointStep, frames: int) -> Drawn:
    """The noise that `step` takes at `state`, and the position of its draws afterwards."""
    if isinstance(state, JointState) and state.drawn is not None:
        return state.drawn.result()
    return draw(step, state.memory["draws"], frames)


def draw(step: JointStep, position: Tensor, frames: int) -> Drawn:
    """Noises of `step`, each (8, 16, frames), and the position behind them. Seeds are drawn on the CPU everywhere."""
    assert step.draws is not None
    draws: Draws = step.draws
    noises = []
    for _ in range(step.noises):
        noise, position = draws.draw(position, (*FRAME, frames))
        noises.append(noise)
    return noises, position


@lru_cache(maxsize=1)
def _drawing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="draws")


def carried_by(state: State) -> Mapping[str, Tensor]:
    """The part of a state's memory that passes through a step in numbers as it is."""
    if isinstance(state, JointState):
        return state.carried
    known = state.on_device() if isinstance(state, ResidentState) else state
    return {name: tensor for name, tensor in known.memory.items() if name in CARRIED}


def resting(state: State, device: torch.device) -> State:
    """`state` with the tensors of a song on `device`; positions of draws stay on the CPU."""
    if isinstance(state, ResidentState):
        return state.on_device()
    memory = {name: part if name == "draws" else part.to(device) for name, part in state.memory.items()}
    return State(state.step, state.latents.to(device), state.preview.to(device), memory)
