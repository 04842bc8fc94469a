"""Notifications about runs within one process."""

from __future__ import annotations

import asyncio
import time

from acestep_flows.api.execution.run_notifier import RunNotifier, wait_at_most


def test_all_listeners_are_notified() -> None:
    async def work() -> None:
        notifier = RunNotifier()
        first, second = (asyncio.create_task(wait_at_most(notifier.listen("run"), 60)) for _ in range(2))
        await asyncio.sleep(0)
        notifier.notify(["another", "run"])
        await asyncio.gather(first, second)

    asyncio.run(asyncio.wait_for(work(), 30))


def test_news_between_listening_and_waiting_is_not_missed() -> None:
    async def work() -> None:
        notifier = RunNotifier()
        event, other_event = notifier.listen("run"), notifier.listen("other")
        notifier.notify(["run"])
        await wait_at_most(event, 60)
        assert not notifier.listen("run").is_set()
        assert not other_event.is_set()

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_wait_without_news_ends() -> None:
    async def work() -> None:
        begun = time.monotonic()
        await wait_at_most(RunNotifier().listen("run"), 0.01)
        assert time.monotonic() - begun >= 0.009

    asyncio.run(asyncio.wait_for(work(), 30))


def test_events_without_listeners_are_dropped() -> None:
    async def work() -> None:
        notifier = RunNotifier()
        for number in range(100):
            await wait_at_most(notifier.listen(f"run-{number}"), 0)
        assert len(notifier._events) <= 1

    asyncio.run(work())


def test_closing_wakes_every_listener() -> None:
    async def work() -> None:
        notifier = RunNotifier()
        waiting = [asyncio.create_task(wait_at_most(notifier.listen(run), 60)) for run in ("one", "two")]
        await asyncio.sleep(0)
        notifier.close()
        await asyncio.gather(*waiting)
        assert notifier.closed

    asyncio.run(asyncio.wait_for(work(), 30))
