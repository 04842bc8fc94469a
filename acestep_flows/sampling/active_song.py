"""A song between two steps: how far it is, and what it asks of the network next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from acestep_flows.sampling.denoiser import Denoiser, QueryRow
from acestep_flows.sampling.joint_step import JointStep
from acestep_flows.sampling.resident_state import SingleState, resting
from acestep_flows.sampling.trajectory import State, Trajectory

ON_PROCESSORS = frozenset({"cpu"})
"""Kinds of device whose songs make each step by themselves, on the CPU, bit for bit as alone."""


def steps_jointly(device: torch.device) -> bool:
    """Whether songs whose network is on `device` make their steps there as one batch. The one place that chooses."""
    return device.type not in ON_PROCESSORS


@dataclass(frozen=True, eq=False)
class ActiveSong:
    """A song that is being denoised: its trajectory, who answers its queries, and the state it has reached."""

    trajectory: Trajectory
    denoiser: Denoiser
    state: State

    @classmethod
    def begin(cls, trajectory: Trajectory, denoiser: Denoiser, state: State | None = None) -> ActiveSong:
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
    def joint(self) -> JointStep | None:
        """The next step as numbers; None where the song makes it by itself. Only before `done`."""
        if not steps_jointly(self.denoiser.device):
            return None
        return self.trajectory.joint_step(self.state.step, self.state.names)

    @cached_property
    def rows(self) -> Sequence[QueryRow]:
        """What the next step asks of the network. Only before `done`."""
        if self.joint is not None:
            return self.denoiser.rows(self.joint.queries)
        trajectory, state = self._where_it_steps
        return self.denoiser.rows(trajectory.queries(state))

    @property
    def tokens(self) -> int:
        """What the next step costs: frames times branches; 0 when the song is done."""
        return 0 if self.done else sum(row.query.frames for row in self.rows)

    def advance(self, velocities: Sequence[Tensor]) -> ActiveSong:
        """The song one step on, its next queries prepared; `velocities` answer `rows` in order."""
        trajectory, state = self._where_it_steps
        if trajectory is self.trajectory:
            return self.at(trajectory.advance(state, [velocity.float().cpu() for velocity in velocities]))
        return self.at(SingleState(trajectory.advance(state, [velocity.float() for velocity in velocities])))

    def at(self, state: State) -> ActiveSong:
        """The song at another state, its next queries prepared."""
        return replace(self, state=state)._prepared()

    @cached_property
    def _where_it_steps(self) -> tuple[Trajectory, State]:
        """Plan and state where a step that is no joint one is made: on the CPU, or on the device."""
        if not steps_jointly(self.denoiser.device):
            return self.trajectory, self.state
        device = self.denoiser.device
        return self.trajectory.on(device), resting(self.state, device)

    def _prepared(self) -> ActiveSong:
        """The same song, with `rows` computed now and not in the middle of a shared step."""
        if not self.done:
            _ = self.rows
        return self
