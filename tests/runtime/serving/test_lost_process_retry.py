"""Being in a process with others, or alone."""

from __future__ import annotations

import asyncio
import random

from acestep_flows.runtime.serving.lost_process_retry import Occupancy


def test_who_is_alone_is_alone_and_comes_first() -> None:
    async def work() -> None:
        company, inside, order = Occupancy(), set[str](), list[str]()

        async def visit(name: str, *, alone: bool = False, ticks: int = 3) -> bool:
            async with company.visit(alone=alone) as visit:
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


def test_a_cancelled_wish_to_be_alone_lets_others_in() -> None:
    async def work() -> None:
        company = Occupancy()
        go = asyncio.Event()

        async def visit(*, alone: bool = False) -> None:
            async with company.visit(alone=alone):
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


def test_everybody_gets_in_whatever_happens() -> None:
    chance = random.Random(3)

    async def work() -> None:
        company, inside = Occupancy(), list[bool]()

        async def visit(alone: bool) -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            async with company.visit(alone=alone):
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
