"""Diffusion calls in one process: through the engine, with states that outlive the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.graph.execution.cache_key import cache_key
from acestep_flows.graph.execution.runner import Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls
from acestep_flows.runtime.serving.pool import EngineSection
from acestep_flows.runtime.serving.saved_states import SavedStates
from tests.runtime.serving.songs import Told, sample_call

SAVE_EVERY = 3


@pytest.fixture(scope="module")
def runner(small: Checkpoint) -> Iterator[LocalRunner]:
    with LocalRunner(small) as runner:
        yield runner


def with_songs(runner: LocalRunner, work: Callable[[DiffusionCalls], Awaitable[Any]], root: Path | None = None) -> Any:
    async def run() -> Any:
        songs = DiffusionCalls(
            runner, EngineSection(save_every=SAVE_EVERY, songs=2), None if root is None else SavedStates(root)
        )
        try:
            return await work(songs)
        finally:
            await songs.engine.close()

    return asyncio.run(run())


async def call_of(songs: DiffusionCalls, **params: Any) -> StageCall:
    return await sample_call(songs._runner, **params)


def test_a_call_gives_what_the_stage_gives_alone(runner: LocalRunner) -> None:
    async def work(songs: DiffusionCalls) -> None:
        told = Told()
        call = await call_of(songs, steps=4)
        reply, _ = await sung(songs, call, told)
        alone = await runner.call(call, Told())
        assert reply.outputs == alone.outputs
        assert reply.seconds > 0
        assert told.starts == 1
        assert told.steps == [(step, 4) for step in range(5)]

    with_songs(runner, work)


async def sung(songs: DiffusionCalls, call: StageCall, told: Told) -> tuple[Reply, str]:
    """The reply of a call that goes to its end, and its key."""
    reply, key = await songs.call(call, told)
    assert reply is not None
    return reply, key


def assert_same(one: Reply | None, other: Reply) -> None:
    """The same song, but for the rounding of shared forward passes, which guidance multiplies."""
    assert one is not None
    first, second = (getattr(reply.outputs["latents"], "token").array for reply in (one, other))  # noqa: B009
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-3)


async def stopped_at(songs: DiffusionCalls, call: StageCall, step: int) -> None:
    """Cancel the call once it has made `step` steps."""
    told = Told()
    task = asyncio.ensure_future(songs.call(call, told))
    while not told.steps or told.steps[-1][0] < step:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_call_made_again_goes_on_where_the_last_state_was_saved(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: DiffusionCalls) -> None:
        call = await call_of(songs, steps=60)
        await stopped_at(songs, call, 10)
        (saved,) = tmp_path.iterdir()
        told = Told()
        reply, key = await sung(songs, call, told)
        assert saved.name.startswith(key)
        first = told.steps[0][0]
        assert first >= 10 - SAVE_EVERY
        assert first % SAVE_EVERY == 0
        assert told.steps[-1] == (60, 60)
        assert reply.outputs == (await runner.call(call, Told())).outputs
        await songs.end(key)
        assert list(tmp_path.iterdir()) == []

    with_songs(runner, work, tmp_path)


def test_another_call_starts_from_its_own_beginning(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: DiffusionCalls) -> None:
        await stopped_at(songs, await call_of(songs, steps=60), 6)
        told = Told()
        await sung(songs, await call_of(songs, steps=5), told)
        assert told.steps[0] == (0, 5)

    with_songs(runner, work, tmp_path)


def test_a_state_of_something_else_is_not_used(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: DiffusionCalls) -> None:
        call = await call_of(songs, steps=60)
        await stopped_at(songs, call, 9)
        (saved,) = tmp_path.iterdir()
        short = await call_of(songs, steps=4)
        saved.rename(tmp_path / f"{songs._key(short)}.state")
        told = Told()
        await sung(songs, short, told)
        assert told.steps[0] == (0, 4)

    with_songs(runner, work, tmp_path)


def test_where_nothing_can_be_saved_songs_go_on(runner: LocalRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def work(songs: DiffusionCalls) -> None:
        reply, _ = await sung(songs, await call_of(songs, steps=7), Told())
        assert reply.outputs

    with_songs(runner, work, tmp_path / "file")


def test_a_failed_call_leaves_nothing_and_says_why(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: DiffusionCalls) -> None:
        with pytest.raises(InputError, match="belong together"):
            await sung(songs, await call_of(songs, steps=4, control_branch="stemgen"), Told())
        assert songs.engine.stats().songs == 0

    with_songs(runner, work, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_calls_beyond_the_engine_wait(runner: LocalRunner) -> None:
    async def work(songs: DiffusionCalls) -> None:
        call = await call_of(songs, steps=4)
        replies = await asyncio.gather(*(sung(songs, call, Told()) for _ in range(6)))
        assert len(replies) == 6

    with_songs(runner, work)


def test_a_short_song_passes_long_ones_that_have_all_places(runner: LocalRunner, tmp_path: Path) -> None:
    """Long songs get up for it between two steps, and come out as they would have."""

    async def work(songs: DiffusionCalls) -> None:
        long = [await call_of(songs, steps=80, guidance_scale=2.0 + at) for at in range(4)]
        told = [Told() for _ in long]
        singing = [
            asyncio.ensure_future(sung(songs, replace(call, run=f"long {at}"), told[at]))
            for at, call in enumerate(long)
        ]
        while sum(len(each.steps) for each in told) < 40:
            await asyncio.sleep(0.001)
        before = sum(len(each.steps) for each in told)
        short = await call_of(songs, steps=10)
        reply, _ = await sung(songs, replace(short, run="short", preview_every=4), heard := Told())
        assert not any(song.done() for song in singing)
        assert sum(len(each.steps) for each in told) - before < 100  # of the 280 that the long ones still had to make
        assert_same(reply, await runner.call(short, Told()))
        assert [step for step, _ in heard.previews] == [4, 8]
        for call, each, (reply, _) in zip(long, told, await asyncio.gather(*singing), strict=True):
            assert_same(reply, await runner.call(call, Told()))
            assert each.starts == 1
            assert each.steps == [(step, 80) for step in range(81)]  # getting up costs no step
        assert songs.engine.stats().songs == 0

    with_songs(runner, work, tmp_path)


def test_a_run_of_hundreds_of_takes_does_not_keep_others_waiting(runner: LocalRunner) -> None:
    async def work(songs: DiffusionCalls) -> None:
        take = replace(await call_of(songs, steps=12), run="hundreds")
        ended: list[str] = []

        async def sing(call: StageCall) -> None:
            await sung(songs, call, Told())
            ended.append(call.run)

        takes = [asyncio.ensure_future(sing(take)) for _ in range(300)]
        while len(ended) < 4:
            await asyncio.sleep(0.001)
        await asyncio.gather(*(sing(replace(take, run="few")) for _ in range(5)))
        assert ended.count("hundreds") - 4 < 4 * 5
        for each in takes:
            each.cancel()
        await asyncio.gather(*takes, return_exceptions=True)

    with_songs(runner, work)


def test_a_call_that_is_to_be_alone_stops_when_it_has_come_so_far(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: DiffusionCalls) -> None:
        call = await call_of(songs, steps=40)
        reply, key = await songs.call(call, probe := Told(), 7)
        assert reply is None
        assert probe.steps[-1] == (7, 40)
        reply, again = await sung(songs, call, told := Told())
        assert again == key
        assert told.steps[0] == (7, 40)
        assert_same(reply, await runner.call(call, Told()))
        await songs.end(key)
        reply, _ = await songs.call(call, Told(), 41)  # further than there are steps
        assert reply is not None

    with_songs(runner, work, tmp_path)


def test_a_call_that_is_to_be_alone_goes_to_its_end_where_nothing_is_saved(runner: LocalRunner) -> None:
    async def work(songs: DiffusionCalls) -> None:
        reply, _ = await songs.call(await call_of(songs, steps=5), Told(), 2)
        assert reply is not None

    with_songs(runner, work)


def test_previews_are_the_estimates_and_change_no_bit_of_the_song(runner: LocalRunner) -> None:
    async def work(songs: DiffusionCalls) -> None:
        call = await call_of(songs, steps=7, solver="pingpong")
        plain, _ = await sung(songs, call, Told())
        served, local = Told(), Told()
        asked = replace(call, preview_every=3)
        assert (await sung(songs, asked, served))[0].outputs == plain.outputs
        assert (await runner.call(asked, local)).outputs == plain.outputs
        assert [step for step, _ in served.previews] == [step for step, _ in local.previews] == [3, 6]
        digests = [latents.digest for _, latents in served.previews]
        assert digests == [latents.digest for _, latents in local.previews]
        final = plain.outputs["latents"]
        assert len({*digests, getattr(final, "digest", "")}) == 3
        assert cache_key(asked, (), "cpu") == cache_key(call, (), "cpu")

    with_songs(runner, work)
