"""Cheap calls that share forward passes: with as many as wait, one by one where that is wanted, and truly counted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import Cancelled, InputError, StageError
from acestep_flows.graph.content import Handle
from acestep_flows.graph.execution.runner import Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.batches import Batcher, StageBatches
from acestep_flows.stages.contract import IGNORE_PROGRESS
from acestep_flows.stages.registry import stages
from tests.runtime.serving.songs import Told
from tests.stages.material import latents

PROMPT, LYRICS, NOISE = (stages()[name] for name in ("encode_prompt", "encode_lyrics", "init_noise"))


@pytest.fixture(scope="module")
def runner(small: Checkpoint) -> Iterator[LocalRunner]:
    with LocalRunner(small) as runner:
        yield runner


def prompt(tags: str) -> StageCall:
    return StageCall(PROMPT, {}, PROMPT.Params.model_validate({"tags": tags}))


class Busy:
    """The runner's thread at work, until it is let go."""

    def __init__(self, runner: LocalRunner) -> None:
        self._go, self._there = threading.Event(), threading.Event()
        runner.work.submit(self._hold)
        self._there.wait(10)

    def _hold(self) -> None:
        self._there.set()
        self._go.wait(10)

    def end(self) -> None:
        self._go.set()


def with_batches(runner: LocalRunner, most: int, work: Callable[[StageBatches], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        batches = StageBatches(runner, [PROMPT, LYRICS, NOISE], most)
        try:
            async with asyncio.timeout(60):
                return await work(batches)
        finally:
            await batches.close()

    return asyncio.run(run())


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0.01)


def test_calls_that_wait_share_the_next_pass(runner: LocalRunner) -> None:
    calls = [prompt("pop"), prompt("drums, 120 bpm"), prompt("a long and slow ballad"), prompt("rock"), prompt("x")]

    async def work(batches: StageBatches) -> list[Reply]:
        assert [batches.takes(stage) for stage in (PROMPT, LYRICS, NOISE)] == [True, True, False]
        busy = Busy(runner)
        first = asyncio.ensure_future(batches.call(calls[0], Told()))
        await settled()  # taken alone, and waits for the thread
        told = [Told() for _ in calls[1:]]
        rest = [asyncio.ensure_future(batches.call(call, ear)) for call, ear in zip(calls[1:], told, strict=True)]
        await settled()
        assert [ear.starts for ear in told] == [0] * 4
        busy.end()
        replies = [await first, *await asyncio.gather(*rest)]
        assert [ear.starts for ear in told] == [1] * 4
        passes = batches.passes["encode_prompt"]
        assert (passes.passes, passes.items) == (3, 5)  # one, three, one: no more than three together
        return replies

    replies = with_batches(runner, 3, work)
    for call, reply in zip(calls, replies, strict=True):
        (alone,) = runner.together([call], IGNORE_PROGRESS)
        assert isinstance(alone, Reply)
        found, wanted = reply.outputs["prompt"], alone.outputs["prompt"]
        assert found.token.text == wanted.token.text  # type: ignore[union-attr]
        assert abs(found.token.states - wanted.token.states).max() < 1e-5  # type: ignore[union-attr]


def test_of_one_nothing_is_taken(runner: LocalRunner) -> None:
    async def work(batches: StageBatches) -> None:
        assert not any(batches.takes(stage) for stage in (PROMPT, LYRICS, NOISE))
        assert [*batches.passes] == ["encode_prompt", "encode_lyrics"]

    with_batches(runner, 1, work)


def test_what_breaks_is_an_error_of_that_call(runner: LocalRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: Any = PROMPT.run

    def short(self: Any, batch: Any, params: Any, watch: Any) -> Any:
        if any(param.tags == "huge" for param in params):
            raise MemoryError("too much")
        return whole(self, batch, params, watch)

    async def work(batches: StageBatches) -> None:
        monkeypatch.setattr(PROMPT, "run", short)
        busy = Busy(runner)
        made = [asyncio.ensure_future(batches.call(prompt(tags), Told())) for tags in ("a", "b", "huge", "c")]
        await settled()
        busy.end()
        outs = await asyncio.gather(*made, return_exceptions=True)
        assert [type(out) for out in outs] == [Reply, Reply, StageError, Reply]
        assert str(outs[2]) == "encode_prompt: MemoryError: too much"

    with_batches(runner, 8, work)


def test_a_cancelled_call_leaves_the_list_or_ends_with_its_pass(
    runner: LocalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, go = threading.Event(), threading.Event()
    whole: Any = PROMPT.run

    def slow(*args: Any) -> Any:
        there.set()
        go.wait(10)
        return whole(*args)

    async def work(batches: StageBatches) -> None:
        monkeypatch.setattr(PROMPT, "run", slow)
        computed, waiting = (asyncio.ensure_future(batches.call(prompt(tags), Told())) for tags in "ab")
        await asyncio.to_thread(there.wait, 10)
        waiting.cancel()
        computed.cancel()
        await settled()
        assert waiting.cancelled() or not waiting.done()
        assert not computed.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await computed

    with_batches(runner, 8, work)


def test_a_value_that_does_not_fit_is_an_error_of_that_call(runner: LocalRunner) -> None:
    decode = stages()["decode_latents"]

    async def run() -> None:
        batches = StageBatches(runner, [decode], 4)
        wrong = StageCall(decode, {"latents": None}, decode.Params())
        right = StageCall(decode, {"latents": Handle("latents", "", 0, latents(3))}, decode.Params())
        outs = await asyncio.gather(
            *(batches.call(call, Told()) for call in (wrong, right, wrong)), return_exceptions=True
        )
        assert [type(out) for out in outs] == [StageError, Reply, StageError]
        await batches.close()

    asyncio.run(run())


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
