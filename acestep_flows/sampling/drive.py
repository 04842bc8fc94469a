"""The denoise loop of one song. The step engine runs the same moves for many songs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from acestep_flows.sampling.trajectory import Call, State, Trajectory

Denoise = Callable[[Sequence[Call]], Sequence[Tensor]]
"""Answers calls: one velocity per call, of the shape of its latents."""
OnStep = Callable[[State], None]
"""Told of every new state. It may save it, show a preview, or stop the song by raising."""


def drive(trajectory: Trajectory, denoise: Denoise, on_step: OnStep | None = None, state: State | None = None) -> State:
    """Take a song from `state` (None: from its start) to its end.

    Returns:
        The last state; its latents are the finished song.

    Raises:
        InputError: `state` is of another song.
    """
    if state is None:
        state = trajectory.start()
    trajectory.check(state)
    while not trajectory.done(state):
        velocities = denoise(trajectory.calls(state))
        state = trajectory.advance(state, [velocity.float().cpu() for velocity in velocities])
        if on_step is not None:
            on_step(state)
    return state
