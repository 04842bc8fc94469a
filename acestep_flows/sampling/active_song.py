"""A song between two steps: how far it is, and what it asks of the network next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from acestep_flows.sampling.denoiser import Denoiser, QueryRow
from acestep_flows.sampling.trajectory import State, Trajectory


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
    def rows(self) -> Sequence[QueryRow]:
        """What the next step asks of the network. Only before `done`."""
        return self.denoiser.rows(self.trajectory.queries(self.state))

    @property
    def tokens(self) -> int:
        """What the next step costs: frames times branches; 0 when the song is done."""
        return 0 if self.done else sum(row.query.frames for row in self.rows)

    def advance(self, velocities: Sequence[Tensor]) -> ActiveSong:
        """The song one step on, its next queries prepared; `velocities` answer `rows` in order."""
        state = self.trajectory.advance(self.state, [velocity.float().cpu() for velocity in velocities])
        return replace(self, state=state)._prepared()

    def _prepared(self) -> ActiveSong:
        """The same song, with `rows` computed now and not in the middle of a shared step."""
        if not self.done:
            _ = self.rows
        return self
