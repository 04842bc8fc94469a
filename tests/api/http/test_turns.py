"""Long work takes turns, lets other requests through, and ends when its client has gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from acestep_flows.api.http.turns import Turns
from acestep_flows.errors import Cancelled, Overloaded
from acestep_flows.graph.pauses import pause


async def here() -> bool:
    return False


def busy(until: Callable[[], bool]) -> str:
    while not until():
        pause()
    return "done"


def test_work_is_done_and_its_errors_are_passed_on() -> None:
    async def main() -> None:
        turns = Turns()
        assert await turns.do(lambda: 5, "me", here) == 5
        with pytest.raises(ZeroDivisionError):
            await turns.do(lambda: 1 // 0, "me", here)
        assert await turns.do(lambda: 6, "me", here) == 6

    asyncio.run(main())


def test_work_ends_when_its_client_has_gone_and_frees_its_place() -> None:
    async def main() -> None:
        turns = Turns(at_once=1)

        async def gone() -> bool:
            return True

        with pytest.raises(Cancelled):
            await turns.do(lambda: busy(lambda: False), "me", gone)
        assert await turns.do(lambda: "next", "me", here) == "next"

    asyncio.run(main())


def test_who_has_gone_while_waiting_is_not_begun() -> None:
    async def main() -> None:
        turns, over, begun = Turns(at_once=1), asyncio.Event(), []

        async def gone() -> bool:
            return True

        first = asyncio.ensure_future(turns.do(lambda: busy(over.is_set), "me", here))
        await asyncio.sleep(0.05)
        with pytest.raises(Cancelled, match="gone"):
            await turns.do(lambda: begun.append(1), "me", gone)
        with pytest.raises(Cancelled, match="gone"):
            await turns.do(lambda: begun.append(1), "other", gone)
        over.set()
        assert await first == "done"
        assert begun == []
        assert await turns.do(lambda: "next", "other", here) == "next"

    asyncio.run(main())


def test_one_caller_leaves_a_turn_to_the_others() -> None:
    async def main() -> None:
        turns, over = Turns(at_once=2), asyncio.Event()
        many = [asyncio.ensure_future(turns.do(lambda: busy(over.is_set), "greedy", here)) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(turns.do(lambda: "served", "other", here), 20) == "served"
        over.set()
        assert await asyncio.gather(*many) == ["done"] * 20

    asyncio.run(main())


def test_so_many_requests_of_one_caller_wait() -> None:
    async def main() -> None:
        turns, over = Turns(most_waiting=3), asyncio.Event()
        waiting = [asyncio.ensure_future(turns.do(lambda: busy(over.is_set), "me", here)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded, match="3 requests with a graph wait"):
            await turns.do(lambda: None, "me", here)
        assert await turns.do(lambda: "served", "other", here) == "served"
        over.set()
        await asyncio.gather(*waiting)

    asyncio.run(main())


def test_a_server_that_stops_ends_the_work() -> None:
    async def main() -> None:
        turns = Turns()
        work = asyncio.ensure_future(turns.do(lambda: busy(lambda: False), "me", here))
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert time.monotonic() - begun < 20

    asyncio.run(main())
