"""Calls whose process dies: which losses count, and which calls share a process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from acestep_flows.errors import LostProcess, StageError
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.serving.lost_process_retry import LostProcessRetry, Occupancy
from tests.graph.small_stages import RAN, Break, scheduler_of
from tests.runtime.serving.songs import Told


class MortalProcess:
    """Dies in every attempt that is listed, after the steps it tells of; then it replies.

    Args:
        deaths: the steps told of, and whether another call was in the process.
        started: whether it says that the call works.

    Attributes:
        quarantines: for every attempt, the step until which it was to be alone.
    """

    def __init__(self, *deaths: tuple[Sequence[int], bool], started: bool = True) -> None:
        self.deaths, self.started = list(deaths), started
        self.retry = LostProcessRetry()
        self.quarantines: list[int] = []
        self._released = False

    async def make(self, progress: CallProgress, alone_until: int) -> Reply | None:
        if not self._released:
            self.quarantines.append(alone_until)
        if not self.deaths:
            return Reply({}, 1.0)
        steps, shared = self.deaths[0]
        if alone_until and shared:
            self._released = True  # lives through its quarantine, and dies beside others
            return None
        self._released = False
        del self.deaths[0]
        if self.started:
            progress.started()
        for step in steps:
            progress.step(step, 100)
        if shared:
            assert self.retry._occupancy is not None
            async with self.retry._occupancy.visit():
                pass
        raise LostProcess("gone")

    def reply(self) -> Reply:
        return asyncio.run(self.retry.call(self.make, Told()))


def test_a_loss_after_progress_does_not_count() -> None:
    process = MortalProcess(*((range(at, at + 12), False) for at in range(0, 100, 10)))
    assert process.reply().seconds == 1
    assert len(process.quarantines) == 11


def test_two_losses_alone_and_at_one_place_are_the_end() -> None:
    process = MortalProcess((range(12), True), *[(range(10, 12), False)] * 3)
    with pytest.raises(LostProcess):
        process.reply()
    assert process.quarantines == [0, 12, 12]


def test_a_loss_beside_others_does_not_count_but_the_next_attempt_is_alone() -> None:
    process = MortalProcess(*[(range(6), True)] * 9)
    assert process.reply().seconds == 1
    assert process.quarantines[:2] == [0, 6]
    assert min(process.quarantines[2:]) > 10**6  # what dies again beside others is alone to its end


def test_a_call_that_never_started_has_more_attempts() -> None:
    MortalProcess(*[((), False)] * 4, started=False).reply()
    with pytest.raises(LostProcess):
        MortalProcess(*[((), False)] * 5, started=False).reply()


def call_of_break(how: str, retry: LostProcessRetry) -> Reply:
    """The reply of a stage that breaks, called through `retry`."""
    call = StageCall(Break, {"latents": None}, Break.Params.model_validate({"how": how}))
    RAN.clear()
    with scheduler_of() as scheduler:

        async def make(progress: CallProgress, alone_until: int) -> Reply:
            return await scheduler.runner.call(call, progress)

        return asyncio.run(retry.call(make, Told()))


def test_where_no_call_can_be_alone_it_is_made_again_twice_and_no_more() -> None:
    Break.lost = 2
    call_of_break("lost", LostProcessRetry(replicas=2))
    assert RAN == ["break"] * 3
    Break.lost = 3
    with pytest.raises(LostProcess):
        call_of_break("lost", LostProcessRetry(replicas=2))
    assert RAN == ["break"] * 3


def test_nothing_else_is_made_again() -> None:
    with pytest.raises(StageError):
        call_of_break("crash", LostProcessRetry())
    assert RAN == ["break"]


def test_an_attempt_in_two_parts_starts_once() -> None:
    """The first part is alone, the second is not."""
    told = Told()
    parts: list[int] = []

    async def make(progress: CallProgress, alone_until: int) -> Reply | None:
        parts.append(alone_until)
        progress.started()
        progress.step(3, 9)
        if len(parts) == 1:
            raise LostProcess("gone")
        return None if alone_until else Reply({}, 1.0)

    asyncio.run(LostProcessRetry().call(make, told))
    assert parts == [0, 4, 0]
    assert told.starts == 2


def test_a_call_in_quarantine_is_alone_and_comes_first() -> None:
    async def work() -> None:
        occupancy, inside, order = Occupancy(), set[str](), list[str]()

        async def visit(name: str, *, alone: bool = False, ticks: int = 3) -> bool:
            async with occupancy.visit(alone=alone) as visit:
                inside.add(name)
                order.append(name)
                for _ in range(ticks):
                    assert not alone or inside == {name}
                    await asyncio.sleep(0)
                inside.discard(name)
            return visit.shared

        first, second = (asyncio.ensure_future(visit(name)) for name in ("first", "second"))
        await asyncio.sleep(0)
        suspects = [asyncio.ensure_future(visit(f"suspect {at}", alone=True)) for at in range(3)]
        await asyncio.sleep(0)
        late = asyncio.ensure_future(visit("late"))
        assert await asyncio.gather(first, second, *suspects, late) == [True, True, False, False, False, False]
        assert order == ["first", "second", "suspect 0", "suspect 1", "suspect 2", "late"]

    asyncio.run(work())


def test_a_cancelled_quarantine_lets_others_in() -> None:
    async def work() -> None:
        occupancy = Occupancy()
        go = asyncio.Event()

        async def visit(*, alone: bool = False) -> None:
            async with occupancy.visit(alone=alone):
                await go.wait()

        first = asyncio.ensure_future(visit())
        await asyncio.sleep(0)
        suspect = asyncio.ensure_future(visit(alone=True))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            third = asyncio.ensure_future(visit())
            await asyncio.sleep(0)
            suspect.cancel()
            go.set()
            await asyncio.gather(first, third)

    asyncio.run(work())


def test_every_call_enters_in_the_end() -> None:
    chance = random.Random(3)

    async def work() -> None:
        occupancy, inside = Occupancy(), list[bool]()

        async def visit(alone: bool) -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            async with occupancy.visit(alone=alone):
                inside.append(alone)
                assert inside == [True] or True not in inside
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                inside.remove(alone)

        async with asyncio.timeout(10):
            for _ in range(50):
                visits = [asyncio.ensure_future(visit(chance.random() < 0.4)) for _ in range(8)]
                for each in visits[:2]:
                    for _ in range(chance.randrange(5)):
                        await asyncio.sleep(0)
                    each.cancel()
                await asyncio.gather(*visits, return_exceptions=True)
                inside.clear()  # of those that were cancelled in there

    asyncio.run(work())
