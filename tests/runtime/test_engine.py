"""Songs that come and go as they like are as they would be alone, and nobody waits for a whole song of another."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.errors import (
    Cancelled,
    DeadlineExceeded,
    FlowsError,
    InputError,
    LostProcess,
    Overloaded,
    StorageError,
)
from acestep_flows.model.transformer import Transformer
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.runtime.turn_budget import DeficitRoundRobin
from acestep_flows.sampling.denoiser import DenoiserRow, predict_velocities
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.trajectory import State
from tests.sampling.small_songs import ORDERS, Order, alone, assert_same


class Network:
    """Answers, notes what it was asked, and can be made slow, broken or to wait."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.passes: list[tuple[int, list[int]]] = []
        self.threads: set[str] = set()
        self.breaks: Callable[[Sequence[DenoiserRow]], Exception | None] = lambda rows: None
        self.go = threading.Event()
        self.go.set()

    def __call__(self, transformer: Transformer, rows: Sequence[DenoiserRow]) -> list[Tensor]:
        assert self.go.wait(20)
        time.sleep(self.seconds)
        self.threads.add(threading.current_thread().name)
        self.passes.append((id(transformer), [row.query.frames for row in rows]))
        if (error := self.breaks(rows)) is not None:
            raise error
        return predict_velocities(transformer, rows)


LONG = Order(frames=24, options={"steps": 60, "guidance_interval": 1.0})


@given(
    orders=st.lists(ORDERS, min_size=2, max_size=6),
    tokens=st.sampled_from((1, 60, 200, 10_000)),
    padding=st.sampled_from((0, 30, 10_000)),
    lanes=st.sampled_from((1, 2)),
)
@settings(max_examples=20, deadline=None)
def test_a_song_does_not_depend_on_its_neighbours(orders: list[Order], tokens: int, padding: int, lanes: int) -> None:
    network = Network()

    async def one(engine: StepEngine, order: Order) -> State:
        await asyncio.sleep(order.arrival / 1000)
        return await engine.run(order.song())

    async def all_of_them() -> list[State]:
        async with StepEngine(tokens, padding=padding, lanes=lanes, ask=network) as engine:
            states = await asyncio.gather(*(one(engine, order) for order in orders))
            assert engine.stats().songs == engine.stats().present == 0
            return states

    for order, state in zip(orders, asyncio.run(all_of_them()), strict=True):
        assert_same(state, alone(order.song()))
    assert network.threads <= ({"steps_0"} if lanes == 1 else {"steps_0", "lane_0", "lane_1"})


@pytest.mark.parametrize("lanes", [1, 2])
def test_songs_that_share_no_pass_are_what_they_are_alone_to_the_bit(lanes: int) -> None:
    orders = [
        Order(frames=frames, seed=seed, adapter=seed % 3 == 0, task="edit" if seed == 4 else "text2music",
              options={"steps": 6, "guidance": guidance, "guidance_interval": 1.0})
        for seed, (frames, guidance) in enumerate(zip((8, 24, 9, 30, 24, 13), ("apg", "cfg") * 3, strict=True))
    ]  # fmt: skip

    async def run(share_below: int | None, together: bool) -> list[State]:
        async with StepEngine(lanes=lanes, share_below=share_below) as engine:
            if together:
                return await asyncio.gather(*(engine.run(order.song()) for order in orders))
            return [await engine.run(order.song()) for order in orders]

    by_itself = asyncio.run(run(0, together=False))
    for share_below in (0, 24, None):
        for order, one, other in zip(orders, by_itself, asyncio.run(run(share_below, together=True)), strict=True):
            if share_below is not None and order.frames >= share_below:
                assert torch.equal(one.latents, other.latents), (share_below, order)
            assert_same(other, one)


def test_songs_below_the_bound_go_on_sharing() -> None:
    network = Network()

    async def run() -> None:
        async with StepEngine(ask=network, share_below=20) as engine:
            orders = (Order(frames=8, seed=1), Order(frames=24, seed=2), Order(frames=9, seed=3))
            await asyncio.gather(*(engine.run(order.song()) for order in orders))

    asyncio.run(run())
    held = {frozenset(frames) for _, frames in network.passes}
    assert frozenset({8, 9}) in held
    assert all(len(frames) == 1 for frames in held if 24 in frames)


def test_songs_share_passes_but_adapters_do_not_mix() -> None:
    network = Network()
    orders = [Order(seed=1), Order(seed=2, frames=9), Order(seed=3, adapter=True), Order(seed=4, adapter=True)]

    async def all_of_them() -> list[State]:
        network.go.clear()
        async with StepEngine(ask=network) as engine:
            first = asyncio.create_task(engine.run(LONG.song()))
            rest = [asyncio.create_task(engine.run(order.song())) for order in orders]
            while engine.stats().present < len(orders) + 1:
                await asyncio.sleep(0.001)
            network.go.set()
            states = await asyncio.gather(*rest)
            first.cancel()
            return states

    for order, state in zip(orders, asyncio.run(all_of_them()), strict=True):
        assert_same(state, alone(order.song()))
    plain, adapted = (id(order.song().denoise.transformer) for order in (orders[0], orders[2]))
    assert plain != adapted
    assert (plain, [24, 24, 9, 9, 8, 8]) in network.passes
    assert (adapted, [8, 8, 8, 8]) in network.passes


def test_a_new_song_takes_part_in_the_next_turn() -> None:
    async def join() -> None:
        network = Network()
        async with StepEngine(ask=network) as engine:
            first = asyncio.create_task(engine.run(LONG.song()))
            while engine.stats().turns < 5:
                await asyncio.sleep(0.001)
            network.go.clear()
            second = asyncio.create_task(engine.run(Order().song()))
            while engine.stats().present < 2:
                await asyncio.sleep(0.001)
            before = engine.stats().turns
            network.go.set()
            assert (await second).step == 3
            assert engine.stats().turns <= before + 1 + 3 + 1  # one in progress, three steps, one already begun
            assert not first.done()
            first.cancel()

    asyncio.run(join())


def test_a_short_song_passes_long_ones() -> None:
    """Turns have room for one long song, so six of them take turns with the short one."""
    short = Order(frames=3, options={"steps": 10})

    async def race() -> tuple[int, list[State]]:
        async with StepEngine(2 * LONG.frames) as engine:
            songs = [asyncio.create_task(engine.run(LONG.but(seed=seed).song())) for seed in range(6)]
            while engine.stats().turns < 7:
                await asyncio.sleep(0.001)
            begun = engine.stats().turns
            await engine.run(short.song())
            turns = engine.stats().turns - begun
            assert not any(song.done() for song in songs)
            return turns, await asyncio.gather(*songs)

    turns, states = asyncio.run(race())
    assert turns <= 10 * (1 + 6 / 4) + 8  # a step costs 3 or 6 tokens against 48
    for seed, state in enumerate(states):
        assert_same(state, alone(LONG.but(seed=seed).song()))


def test_a_step_larger_than_the_budget_is_made_all_the_same() -> None:
    async def run() -> State:
        async with StepEngine(1) as engine:
            return await engine.run(Order().song())

    assert_same(asyncio.run(run()), alone(Order().song()))


def test_cancelling_frees_the_place_within_the_step() -> None:
    async def run() -> None:
        network = Network(0.01)
        async with StepEngine(ask=network, songs=1) as engine:
            song = asyncio.create_task(engine.run(LONG.song()))
            while engine.stats().turns < 3:
                await asyncio.sleep(0.001)
            with pytest.raises(Overloaded, match="1 songs are under way"):
                await engine.run(Order().song())
            song.cancel()
            with pytest.raises(asyncio.CancelledError):
                await song
            assert (engine.stats().songs, engine.stats().present) == (0, 0)
            turns = engine.stats().turns
            await engine.run(Order().song())
            assert engine.stats().turns <= turns + 1 + 3

    asyncio.run(run())


def test_a_deadline_ends_a_song_and_only_that() -> None:
    async def run() -> None:
        async with StepEngine(ask=Network(0.02)) as engine:
            other = asyncio.create_task(engine.run(Order().song()))
            begun = time.monotonic()
            with pytest.raises(DeadlineExceeded, match=r"stopped after step \d+ of 60, at its deadline of 0.5 s"):
                await engine.run(LONG.song(), deadline=0.5)
            assert time.monotonic() - begun < 5
            assert_same(await other, alone(Order().song()))
            assert engine.stats().present == 0

    asyncio.run(run())


def test_steps_are_told_and_may_end_the_song() -> None:
    told: list[int] = []

    def stop(state: State) -> None:
        told.append(state.step)
        if state.step == 4:
            raise Cancelled("enough")

    async def run() -> State:
        async with StepEngine() as engine:
            other = asyncio.create_task(engine.run(Order().song()))
            with pytest.raises(Cancelled, match="enough"):
                await engine.run(LONG.song(), on_step=stop)
            return await other

    assert_same(asyncio.run(run()), alone(Order().song()))
    assert told == [1, 2, 3, 4]


def test_previews_are_the_estimates() -> None:
    order = Order(options={"steps": 7})
    expected: dict[int, Tensor] = {}
    song = order.song()
    denoise(song.trajectory, song.denoise, lambda state: expected.update({state.step: song.trajectory.estimate(state)}))
    previews: list[tuple[int, Tensor]] = []

    async def run() -> None:
        async with StepEngine() as engine:
            await engine.run(
                order.song(), preview_every=2, on_preview=lambda step, preview: previews.append((step, preview))
            )

    asyncio.run(run())
    assert len(previews) == 3
    assert [step for step, _ in previews] == [2, 4, 6]
    for step, preview in previews:
        torch.testing.assert_close(preview, expected[step], atol=1e-5, rtol=0)


@pytest.mark.parametrize("task", ["text2music", "edit"])
def test_a_saved_song_goes_on_elsewhere(task: str) -> None:
    order = Order(task, options={"steps": 10, "solver": "pingpong"})
    saved: list[bytes] = []
    threads: set[str] = set()

    def save(state: State) -> None:
        threads.add(threading.current_thread().name)
        saved.append(state.save())

    async def run() -> State:
        async with StepEngine() as engine:
            last = await engine.run(order.song(), save_every=3, on_save=save)
        states = [State.load(content) for content in saved]
        assert [state.step for state in states] == list(range(3, last.step, 3))
        async with StepEngine() as engine:
            again = await asyncio.gather(*(engine.run(order.song(), state=state) for state in [*states, last]))
        for state in again:
            assert_same(state, last)
        return last

    assert_same(asyncio.run(run()), alone(order.song()))
    assert not threads & {"steps_0", threading.main_thread().name}


def test_a_slow_save_holds_up_its_own_song_alone() -> None:
    order = Order(options={"steps": 8})
    release = threading.Event()
    saves: list[int] = []

    def save(state: State) -> None:
        assert release.wait(20)
        saves.append(state.step)

    async def run() -> None:
        async with StepEngine() as engine:
            slow = asyncio.create_task(engine.run(order.song(), save_every=2, on_save=save))
            await engine.run(LONG.song())
            assert not slow.done()
            assert saves == []
            release.set()
            await slow
            assert saves == [2, 4, 6]

    asyncio.run(run())


def test_a_song_that_leaves_takes_its_state_along() -> None:
    order = Order(options={"steps": 8})
    told: list[int] = []
    saved: list[int] = []

    async def run() -> State:
        async with StepEngine(songs=1) as engine:
            left = await engine.run(
                order.song(),
                on_step=lambda state: told.append(state.step),
                save_every=4,
                on_save=lambda state: saved.append(state.step),
                leaves=lambda state: state.step == 4,
            )
            assert (left.step, engine.stats().songs, engine.stats().present) == (4, 0, 0)
            return await engine.run(order.song(), state=left, on_step=lambda state: told.append(state.step))

    assert_same(asyncio.run(run()), alone(order.song()))
    assert (told, saved) == ([*range(1, 9)], [4])


def test_a_failing_save_fails_the_song() -> None:
    def save(state: State) -> None:
        raise StorageError("no space left")

    async def run() -> None:
        async with StepEngine() as engine:
            other = asyncio.create_task(engine.run(Order().song()))
            with pytest.raises(StorageError, match="no space"):
                await engine.run(LONG.song(), save_every=1, on_save=save)
            await other

    asyncio.run(run())


def test_a_state_of_another_song_is_refused() -> None:
    async def run() -> None:
        async with StepEngine() as engine:
            with pytest.raises(InputError, match="of a song of 8 frames"):
                await engine.run(LONG.song(), state=Order().trajectory().start())
            assert engine.stats().songs == 0

    asyncio.run(run())


class Unlucky(Exception):
    pass


def test_a_failing_song_harms_no_other() -> None:
    network = Network()
    network.breaks = lambda rows: Unlucky() if any(row.query.frames == 13 for row in rows) else None
    orders = [Order(seed=seed, options={"steps": 6}) for seed in range(4)]

    async def run() -> list[State]:
        async with StepEngine(ask=network) as engine:
            songs = [asyncio.create_task(engine.run(order.song())) for order in orders]
            with pytest.raises(Unlucky):
                await engine.run(Order(frames=13).song())
            states = await asyncio.gather(*songs)
            assert engine.healthy
            return states

    for order, state in zip(orders, asyncio.run(run()), strict=True):
        assert_same(state, alone(order.song()))


def test_out_of_memory_makes_turns_smaller() -> None:
    network = Network()
    network.breaks = lambda rows: torch.OutOfMemoryError("full") if len(rows) > 4 else None
    orders = [Order(seed=seed, options={"steps": 8, "guidance_interval": 1.0}) for seed in range(6)]

    async def run() -> tuple[list[State], int]:
        async with StepEngine(60, ask=network) as engine:
            states = await asyncio.gather(*(engine.run(order.song()) for order in orders))
            broken, budget = engine.stats().broken, engine.stats().budget
            assert budget < 60
            for seed in range(2):  # one alone: memory does for all of its turns
                await engine.run(Order(seed=seed, options={"steps": 150}).song())
            assert budget < engine.stats().budget <= 60
            return states, broken

    states, broken = asyncio.run(run())
    for order, state in zip(orders, states, strict=True):
        assert_same(state, alone(order.song()))
    assert 1 <= broken <= 3


def test_the_event_loop_stays_free() -> None:
    """While passes take 50 ms each, the loop goes on every few."""

    async def run() -> float:
        gaps, last = [], time.monotonic()
        async with StepEngine(ask=Network(0.05)) as engine:
            songs = [asyncio.create_task(engine.run(Order(seed=seed).song())) for seed in range(3)]
            while not all(song.done() for song in songs):
                await asyncio.sleep(0.001)
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
        return statistics.median(gaps)

    assert asyncio.run(run()) < 0.03


def test_closing_cancels_what_is_under_way() -> None:
    async def run() -> None:
        engine = StepEngine(ask=Network(0.01))
        song = asyncio.create_task(engine.run(LONG.song()))
        while engine.stats().turns < 2:
            await asyncio.sleep(0.001)
        assert engine.healthy
        await engine.close()
        with pytest.raises(Cancelled, match="closed"):
            await song
        with pytest.raises(FlowsError, match="closed"):
            await engine.run(Order().song())
        assert not engine.healthy

    asyncio.run(run())


def test_a_broken_engine_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, costs: object) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with StepEngine(ask=Network(0.01)) as engine:
            song = asyncio.create_task(engine.run(LONG.song()))
            while engine.stats().turns < 2:
                await asyncio.sleep(0.001)
            monkeypatch.setattr(DeficitRoundRobin, "pick", broken)
            with pytest.raises(LostProcess, match="ZeroDivisionError"):
                await song
            with pytest.raises(LostProcess, match="ZeroDivisionError"):
                await engine.run(LONG.song())
            assert not engine.healthy

    asyncio.run(run())


def test_numbers() -> None:
    async def run() -> None:
        async with StepEngine(100) as engine:
            assert engine.stats().steps_per_second == engine.stats().occupancy == 0
            await asyncio.gather(*(engine.run(Order(seed=seed).song()) for seed in range(3)))
            stats = engine.stats()
            assert stats.steps == 9
            assert 3 <= stats.turns <= 9
            assert 0 < stats.occupancy <= stats.busy <= 1
            assert stats.steps_per_second > 0
            assert (stats.budget, stats.broken) == (100, 0)

    asyncio.run(run())
