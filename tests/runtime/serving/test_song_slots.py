"""Places that go round among runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.runtime.serving.song_slots import SongSlots

STAY = 3


class Stage:
    """Songs that make their steps one turn after the other, all that sit in each."""

    def __init__(self, places: int) -> None:
        self.seating = SongSlots(places, STAY)
        self.places = places
        self.turn = 0
        self.seated = 0
        self.had: Counter[str] = Counter()
        self.ups = 0

    async def sing(self, run: str, steps: int, work: int = 1) -> int:
        """The turn in which the song ends."""
        with self.seating.song(run) as place:
            while steps:
                async with self.seating.sit(place):
                    self.seated += 1
                    assert self.seated <= self.places
                    try:
                        while steps:
                            await asyncio.sleep(0)
                            steps -= 1
                            self.had[run] += work
                            if self.seating.step(place, work) and steps:
                                self.ups += 1
                                break
                    finally:
                        self.seated -= 1
        return self.turn

    async def turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    def play(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            turns = asyncio.ensure_future(self.turns())
            try:
                async with asyncio.timeout(20):
                    await work()
            finally:
                turns.cancel()
            assert self.seated == 0
            # Nothing is left behind: as many sit at once as at first.
            probes = [asyncio.ensure_future(self.sing(f"probe {at}", 2)) for at in range(self.places)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert self.seated == self.places
            await asyncio.gather(*probes)

        asyncio.run(run())


def test_where_there_are_places_nobody_gets_up() -> None:
    stage = Stage(3)

    async def work() -> None:
        await asyncio.gather(*(stage.sing(run, 50, 1 + at) for at, run in enumerate("abc")))

    stage.play(work)
    assert stage.ups == 0


def test_songs_of_one_run_come_one_after_the_other() -> None:
    stage = Stage(2)

    async def work() -> None:
        ends = await asyncio.gather(*(stage.sing("a", 20) for _ in range(10)))
        assert ends == sorted(ends)

    stage.play(work)
    assert stage.ups == 0


def test_a_short_song_does_not_wait_for_a_whole_long_one() -> None:
    stage = Stage(2)

    async def work() -> None:
        long = [asyncio.ensure_future(stage.sing(f"long {at}", 400, 8)) for at in range(5)]
        while stage.turn < 60:
            await asyncio.sleep(0)
        begun = stage.turn
        assert await stage.sing("short", 10) - begun < 60
        assert not any(song.done() for song in long)
        await asyncio.gather(*long)

    stage.play(work)


def test_a_run_of_many_leaves_others_their_share() -> None:
    stage = Stage(4)

    async def work() -> None:
        many = [asyncio.ensure_future(stage.sing("many", 40)) for _ in range(300)]
        while stage.turn < 100:
            await asyncio.sleep(0)
        before = stage.had["many"]
        await asyncio.gather(*(stage.sing("other", 40) for _ in range(6)))
        assert stage.had["many"] - before < 3 * stage.had["other"]
        for song in many:
            song.cancel()
        await asyncio.gather(*many, return_exceptions=True)

    stage.play(work)


@given(
    runs=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 30), st.integers(1, 9)), max_size=14),
    places=st.integers(1, 4),
    cancelled=st.sets(st.integers(0, 13)),
    after=st.integers(0, 40),
)
@settings(max_examples=40, deadline=None)
def test_every_song_ends_and_no_place_is_lost(
    runs: list[tuple[str, int, int]], places: int, cancelled: set[int], after: int
) -> None:
    stage = Stage(places)

    async def work() -> None:
        songs = [asyncio.ensure_future(stage.sing(*song)) for song in runs]
        for _ in range(after):
            await asyncio.sleep(0)
        for at, song in enumerate(songs):
            if at in cancelled:
                song.cancel()
        for at, end in enumerate(await asyncio.gather(*songs, return_exceptions=True)):
            assert isinstance(end, int) or (at in cancelled and isinstance(end, asyncio.CancelledError))

    stage.play(work)


def test_who_is_called_and_cancelled_at_once_gives_the_place_on() -> None:
    stage = Stage(1)

    async def work() -> None:
        first = asyncio.ensure_future(stage.sing("a", 1))
        await asyncio.sleep(0)
        second, third = (asyncio.ensure_future(stage.sing(run, 5)) for run in "bc")
        await first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await third

    stage.play(work)
