from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import Cancelled, InputError
from acestep_flows.runtime.batcher import Batcher


class Doubling:
    """Doubles numbers, refuses 13 alone, and raises for any list with 99 in it."""

    def __init__(self) -> None:
        self.lists: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        assert self.go.wait(20)
        assert threading.current_thread().name == "batch_0"
        self.lists.append(items)
        if 99 in items:
            raise ValueError("99")
        return [InputError("13") if item == 13 else 2 * item for item in items]


@given(
    items=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    max_size=st.integers(1, 20),
    wait=st.sampled_from((0.0, 0.005)),
)
@settings(max_examples=25, deadline=None)
def test_everybody_gets_their_own_and_lists_keep_their_size(items: list[int], max_size: int, wait: float) -> None:
    double = Doubling()

    async def run() -> list[int]:
        async with Batcher(double, size=lambda item: item, max_size=max_size, max_wait=wait) as batcher:
            return await asyncio.gather(*(batcher(item) for item in items))

    assert asyncio.run(run()) == [2 * item for item in items]
    assert [item for batch in double.lists for item in batch] == items
    assert all(sum(batch) <= max_size or len(batch) == 1 for batch in double.lists)


def test_items_gather_while_it_works() -> None:
    double = Doubling()

    async def run() -> None:
        async with Batcher(double) as batcher:
            double.go.clear()
            first = asyncio.create_task(batcher(1))
            await asyncio.sleep(0.01)
            rest = [asyncio.create_task(batcher(item)) for item in (2, 3, 4)]
            await asyncio.sleep(0.01)
            assert batcher.stats().waiting == 3
            double.go.set()
            assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
            assert (batcher.stats().batches, batcher.stats().items) == (2, 4)

    asyncio.run(run())
    assert double.lists == [[1], [2, 3, 4]]


def test_the_first_waits_for_company_but_not_for_ever() -> None:
    double = Doubling()

    async def run() -> None:
        async with Batcher(double, max_size=3, max_wait=60) as batcher:
            begun = time.monotonic()
            pair = [asyncio.create_task(batcher(item)) for item in (1, 2)]
            await asyncio.sleep(0.02)
            assert await asyncio.gather(*pair, batcher(3)) == [2, 4, 6]
            assert time.monotonic() - begun < 30  # full, so it went
        async with Batcher(double, max_size=3, max_wait=0.3) as batcher:
            begun = time.monotonic()
            assert await batcher(4) == 8
            assert time.monotonic() - begun >= 0.3

    asyncio.run(run())
    assert double.lists == [[1, 2, 3], [4]]


def test_one_bad_item_harms_no_other() -> None:
    async def run() -> list[int | BaseException]:
        async with Batcher(Doubling(), max_wait=0.02) as batcher:
            outs = await asyncio.gather(*(batcher(item) for item in (1, 13, 99, 4)), return_exceptions=True)
            assert batcher.stats().broken == 1
            return outs

    one, refused, broken, four = asyncio.run(run())
    assert (one, four) == (2, 8)
    assert isinstance(refused, InputError)
    assert isinstance(broken, ValueError)


def test_too_few_outputs_are_an_error() -> None:
    def short(items: list[int]) -> list[int | Exception]:
        return [*items[1:]]

    async def run() -> None:
        async with Batcher(short) as batcher:
            with pytest.raises(ValueError, match="0 outputs for 1 items"):
                await batcher(1)

    asyncio.run(run())


def test_who_is_cancelled_is_not_run() -> None:
    double = Doubling()

    async def run() -> None:
        async with Batcher(double) as batcher:
            double.go.clear()
            first = asyncio.create_task(batcher(1))
            await asyncio.sleep(0.01)
            second, third = (asyncio.create_task(batcher(item)) for item in (2, 3))
            await asyncio.sleep(0.01)
            first.cancel()  # runs already: nobody hears of it
            second.cancel()
            await asyncio.sleep(0)
            double.go.set()
            assert await third == 6

    asyncio.run(run())
    assert double.lists == [[1], [3]]


def test_closing_cancels_who_waits() -> None:
    double = Doubling()

    async def run() -> None:
        batcher = Batcher(double)
        double.go.clear()
        calls = [asyncio.create_task(batcher(item)) for item in (1, 2)]
        await asyncio.sleep(0.01)
        threading.Timer(0.05, double.go.set).start()
        await batcher.close()
        for call in calls:
            with pytest.raises(Cancelled):
                await call
        with pytest.raises(Cancelled):
            await batcher(3)

    asyncio.run(run())
