"""The denoising loop: songs from their starts to their ends, as many at once as there is room for.

    admit songs while there is room
    every song one step on            (`RowBatcher.step`: queries, forward passes, `ActiveSong.advance`)
    yield those that are done or failed

The step engine of a served process takes the same step, with songs that come and go between two of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import ParamSpec

from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import Denoiser
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.trajectory import State, Trajectory

P = ParamSpec("P")

TOKENS, SONGS = 8192, 8
"""How much `denoise_all` takes on at once on a processor."""
DEVICE_TOKENS, DEVICE_SONGS = 16_384, 64
"""The same on another device, as in the pools for GPUs."""


def denoise(
    trajectory: Trajectory,
    denoiser: Denoiser,
    on_step: Callable[[State], None] | None = None,
    *,
    state: State | None = None,
    batcher: RowBatcher | None = None,
) -> State:
    """Take one song to its end.

    Args:
        on_step: gets every new state. It may save it, show a preview, or end the song by raising.
        state: where the song goes on from; None: its start.
        batcher: makes the forward passes; None: one after the other, in this thread.

    Returns:
        The last state; its latents are the finished song.

    Raises:
        InputError: `state` is of another song.
        Exception: what a forward pass or `on_step` raised.
    """

    def begin() -> ActiveSong:
        return ActiveSong.begin(trajectory, denoiser, state)

    def step(_index: int, song: ActiveSong) -> None:
        if on_step is not None:
            on_step(song.state)

    ((_, outcome),) = denoise_all([begin], step, batcher)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome.state.fetched()


def denoise_all(
    begins: Sequence[Callable[[], ActiveSong]],
    on_step: Callable[[int, ActiveSong], None],
    batcher: RowBatcher | None = None,
    *,
    tokens: int = TOKENS,
    songs: int = SONGS,
) -> Iterator[tuple[int, ActiveSong | Exception]]:
    """Take many songs to their ends, and yield each with its index as soon as it is done or has failed.

    Args:
        begins: make the songs; called when there is room.
        on_step: gets every song after each of its steps; ends the song by raising.
        batcher: makes the forward passes; None: one after the other, in this thread.
        tokens, songs: how much is active at once; a larger song is active alone.
    """
    batcher = RowBatcher() if batcher is None else batcher
    waiting = deque(enumerate(begins))
    active: dict[int, ActiveSong] = {}
    while waiting or active:
        while waiting and _has_room(active.values(), tokens, songs):
            index, begin = waiting.popleft()
            song = _attempt(begin)
            if isinstance(song, Exception) or song.done:
                yield index, song
            else:
                active[index] = song
        outcomes = batcher.step(list(active.values()))
        for index, outcome in zip(list(active), outcomes, strict=True):
            song = outcome if isinstance(outcome, Exception) else _attempt(_report, on_step, index, outcome)
            if isinstance(song, Exception) or song.done:
                del active[index]
                yield index, song
            else:
                active[index] = song


def _has_room(active: Collection[ActiveSong], tokens: int, songs: int) -> bool:
    return not active or (len(active) < songs and sum(song.tokens for song in active) < tokens)


def _report(on_step: Callable[[int, ActiveSong], None], index: int, song: ActiveSong) -> ActiveSong:
    on_step(index, song)
    return song


def _attempt(work: Callable[P, ActiveSong], *args: P.args, **kwargs: P.kwargs) -> ActiveSong | Exception:
    """What `work` returns, or raises: whatever breaks, breaks one song alone."""
    try:
        return work(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - as above
        return error
