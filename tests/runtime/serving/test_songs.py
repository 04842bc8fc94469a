"""Diffusion calls in one process: through the engine, with states that outlive the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.errors import InputError
from acestep_flows.graph.bindings import identity
from acestep_flows.graph.runner import Call
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.pool import Engine
from acestep_flows.runtime.serving.songs import Songs
from acestep_flows.runtime.serving.states import SavedStates
from tests.runtime.serving.songs import Told, sample_call

SAVE_EVERY = 3


@pytest.fixture(scope="module")
def runner(small: Checkpoint) -> Iterator[LocalRunner]:
    with LocalRunner(small) as runner:
        yield runner


def with_songs(runner: LocalRunner, work: Callable[[Songs], Awaitable[Any]], root: Path | None = None) -> Any:
    async def run() -> Any:
        songs = Songs(runner, Engine(save_every=SAVE_EVERY, songs=2), None if root is None else SavedStates(root))
        try:
            return await work(songs)
        finally:
            await songs.engine.close()

    return asyncio.run(run())


async def call_of(songs: Songs, **params: Any) -> Call:
    return await sample_call(songs._runner, **params)


def test_a_call_gives_what_the_stage_gives_alone(runner: LocalRunner) -> None:
    async def work(songs: Songs) -> None:
        told = Told()
        call = await call_of(songs, steps=4)
        reply, _ = await songs.call(call, told)
        alone = await runner.call(call, Told())
        assert reply.outputs == alone.outputs
        assert reply.seconds > 0
        assert told.starts == 1
        assert told.steps == [(step, 4) for step in range(5)]

    with_songs(runner, work)


async def stopped_at(songs: Songs, call: Call, step: int) -> None:
    """Cancel the call once it has made `step` steps."""
    told = Told()
    task = asyncio.ensure_future(songs.call(call, told))
    while not told.steps or told.steps[-1][0] < step:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_call_made_again_goes_on_where_the_last_state_was_saved(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: Songs) -> None:
        call = await call_of(songs, steps=60)
        await stopped_at(songs, call, 10)
        (saved,) = tmp_path.iterdir()
        told = Told()
        reply, key = await songs.call(call, told)
        assert saved.name.startswith(key)
        first = told.steps[0][0]
        assert first >= 10 - SAVE_EVERY
        assert first % SAVE_EVERY == 0
        assert told.steps[-1] == (60, 60)
        assert reply.outputs == (await runner.call(call, Told())).outputs
        await songs.forget(key)
        assert list(tmp_path.iterdir()) == []

    with_songs(runner, work, tmp_path)


def test_another_call_starts_from_its_own_beginning(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: Songs) -> None:
        await stopped_at(songs, await call_of(songs, steps=60), 6)
        told = Told()
        await songs.call(await call_of(songs, steps=5), told)
        assert told.steps[0] == (0, 5)

    with_songs(runner, work, tmp_path)


def test_a_state_of_something_else_is_not_used(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: Songs) -> None:
        call = await call_of(songs, steps=60)
        await stopped_at(songs, call, 9)
        (saved,) = tmp_path.iterdir()
        short = await call_of(songs, steps=4)
        saved.rename(tmp_path / f"{songs._key(short)}.state")
        told = Told()
        await songs.call(short, told)
        assert told.steps[0] == (0, 4)

    with_songs(runner, work, tmp_path)


def test_where_nothing_can_be_saved_songs_go_on(runner: LocalRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def work(songs: Songs) -> None:
        reply, _ = await songs.call(await call_of(songs, steps=7), Told())
        assert reply.outputs

    with_songs(runner, work, tmp_path / "file")


def test_a_failed_call_leaves_nothing_and_says_why(runner: LocalRunner, tmp_path: Path) -> None:
    async def work(songs: Songs) -> None:
        with pytest.raises(InputError, match="belong together"):
            await songs.call(await call_of(songs, steps=4, control_branch="stemgen"), Told())
        assert songs.engine.stats().songs == 0

    with_songs(runner, work, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_calls_beyond_the_engine_wait(runner: LocalRunner) -> None:
    async def work(songs: Songs) -> None:
        call = await call_of(songs, steps=4)
        replies = await asyncio.gather(*(songs.call(call, Told()) for _ in range(6)))
        assert len(replies) == 6

    with_songs(runner, work)


def test_previews_are_the_estimates_and_change_no_bit_of_the_song(runner: LocalRunner) -> None:
    async def work(songs: Songs) -> None:
        call = await call_of(songs, steps=7, solver="pingpong")
        plain, _ = await songs.call(call, Told())
        served, local = Told(), Told()
        asked = replace(call, preview_every=3)
        assert (await songs.call(asked, served))[0].outputs == plain.outputs
        assert (await runner.call(asked, local)).outputs == plain.outputs
        assert [step for step, _ in served.previews] == [step for step, _ in local.previews] == [3, 6]
        digests = [latents.digest for _, latents in served.previews]
        assert digests == [latents.digest for _, latents in local.previews]
        final = plain.outputs["latents"]
        assert len({*digests, getattr(final, "digest", "")}) == 3
        assert identity(asked, (), "cpu") == identity(call, (), "cpu")

    with_songs(runner, work)
