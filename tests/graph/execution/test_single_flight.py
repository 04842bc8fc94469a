"""Single flight."""

from __future__ import annotations

import asyncio

import pytest

from acestep_flows.graph.content import Outputs
from acestep_flows.graph.execution.single_flight import CallListener, SharedComputation
from acestep_flows.values import Latents


class Ear:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def started(self) -> None:
        self.heard.append("started")

    def step(self, done: int, total: int) -> None:
        self.heard.append((done, total))

    def preview(self, done: int, total: int, latents: Latents) -> None:
        self.heard.append(("preview", done))

    def outputs_ready(self, outputs: Outputs) -> None:
        self.heard.append(dict(outputs))


def test_everyone_gets_the_result_and_latecomers_hear_where_it_stands() -> None:
    async def both() -> None:
        early, late = Ear(), Ear()
        gate = asyncio.Event()

        async def work(progress: CallListener) -> str:
            progress.started()
            progress.step(1, 3)
            progress.outputs_ready({"n": 1})
            await gate.wait()
            progress.step(2, 3)
            return "done"

        flight = SharedComputation(work)
        first = asyncio.ensure_future(flight.join(early))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.ensure_future(flight.join(late))
        await asyncio.sleep(0)
        assert flight.open
        gate.set()
        assert list(await asyncio.gather(first, second)) == ["done", "done"]
        assert early.heard == late.heard == ["started", (1, 3), {"n": 1}, (2, 3)]
        assert not flight.open

    asyncio.run(both())


def test_the_work_is_cancelled_with_the_last_who_waits_and_has_ended_by_then() -> None:
    async def both() -> None:
        ended = asyncio.Event()

        async def work(progress: CallListener) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(0.01)  # It takes a while to stop.
                ended.set()

        flight = SharedComputation(work)
        waiting = [asyncio.ensure_future(flight.join(Ear())) for _ in range(2)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert flight.open
        assert not ended.is_set()
        waiting[1].cancel()
        await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        assert ended.is_set()

    asyncio.run(both())


def test_an_error_reaches_everyone() -> None:
    async def both() -> None:
        async def work(progress: CallListener) -> None:
            await asyncio.sleep(0)
            raise ValueError("no")

        flight = SharedComputation(work)
        ends = await asyncio.gather(flight.join(Ear()), flight.join(Ear()), return_exceptions=True)
        assert [repr(end) for end in ends] == ["ValueError('no')"] * 2

    asyncio.run(both())


def test_an_error_that_nobody_waits_for_is_not_reported_as_lost() -> None:
    async def both() -> None:
        async def work(progress: CallListener) -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                raise ValueError("on the way out") from None

        waiting = asyncio.ensure_future(SharedComputation(work).join(Ear()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(both())
