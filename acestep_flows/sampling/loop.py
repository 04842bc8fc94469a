"""Many songs to their ends, as many at once as there is room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.trajectory import Query, State, Trajectory

Denoise = Callable[[Sequence[Query]], Sequence[Tensor]]
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


TOKENS, SONGS = 8192, 8
"""How much `denoise_all` takes on at once."""


def denoise_all(
    begins: Sequence[Callable[[], ActiveSong]],
    on_step: Callable[[int, ActiveSong], None],
    forwards: RowBatcher | None = None,
    *,
    tokens: int = TOKENS,
    songs: int = SONGS,
) -> Iterator[tuple[int, ActiveSong | Exception]]:
    """Take many songs to their ends, and give each with its index as soon as it is there.

    Args:
        begins: give the songs; called when there is room.
        on_step: told of every new state; ends the song by raising.
        forwards: None: as they are by default.
        tokens, songs: how much is under way at once, if more than one song is.
    """
    forwards = RowBatcher() if forwards is None else forwards
    waiting = deque(enumerate(begins))
    going: dict[int, ActiveSong] = {}
    while waiting or going:
        while waiting and (not going or (len(going) < songs and sum(each.tokens for each in going.values()) < tokens)):
            index, begin = waiting.popleft()
            try:
                going[index] = begin()
            except Exception as error:  # noqa: BLE001 - whatever breaks, breaks one song alone
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


def _heard(on_step: Callable[[int, ActiveSong], None], index: int, song: ActiveSong) -> ActiveSong | Exception:
    try:
        on_step(index, song)
    except Exception as error:  # noqa: BLE001 - as above
        return error
    return song
