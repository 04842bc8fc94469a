"""The local runner: loading, threads, cancellation, errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from acestep_flows.errors import CheckpointError, InputError, StageError
from acestep_flows.graph.content import Handle
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.model.placement import Placement
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.values import Latents
from tests.graph.small_stages import RAN, Break, Step, Weights

CHECKPOINT: Any = Weights()


class Quiet:
    """Progress nobody looks at."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def started(self) -> None:
        self.heard.append("started")

    def step(self, done: int, total: int) -> None:
        self.heard.append(done)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        self.heard.append(("preview", done))


class Heavy(Stage):
    """Loads slowly, and fails to load as often as it is told."""

    name, version = "heavy", 1
    loads: ClassVar[list[Placement]] = []
    failures: ClassVar[int] = 0

    class Params(StageParams):
        pass

    @dataclass(frozen=True)
    class Out:
        thread: str

    def load(self, checkpoint: Any, placement: Placement) -> None:
        time.sleep(0.02)
        Heavy.loads.append(placement)
        if Heavy.failures:
            Heavy.failures -= 1
            raise CheckpointError("truncated", where="model.safetensors")

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return [self.Out(threading.current_thread().name)]


class Short(Heavy):
    """Gives fewer results than it was asked for."""

    name = "short"

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return []


@pytest.fixture(autouse=True)
def fresh() -> None:
    RAN.clear()
    Heavy.loads.clear()
    Heavy.failures = Step.steps_done = Break.lost = 0


HEAVY = StageCall(Heavy, {}, Heavy.Params())


def test_a_stage_is_loaded_once_and_shared() -> None:
    async def both() -> None:
        with LocalRunner(CHECKPOINT, Placement(dtype="bfloat16")) as runner:
            replies = await asyncio.gather(*(runner.call(HEAVY, Quiet()) for _ in range(8)))
            assert all(str(reply.outputs["thread"]).startswith("stage") for reply in replies)
            assert all(reply.seconds < 0.02 for reply in replies)  # Loading is not counted.
            assert runner.loaded(Heavy) is runner.loaded(Heavy)

    asyncio.run(both())
    assert Heavy.loads == [Placement(dtype="bfloat16")]


def test_a_failed_load_is_tried_anew() -> None:
    Heavy.failures = 1

    async def both() -> None:
        with LocalRunner(CHECKPOINT) as runner:
            with pytest.raises(CheckpointError, match="truncated"):
                await runner.call(HEAVY, Quiet())
            await runner.call(HEAVY, Quiet())

    asyncio.run(both())
    assert len(Heavy.loads) == 2


def call_once(call: StageCall) -> Any:
    async def both() -> Any:
        with LocalRunner(CHECKPOINT) as runner:
            return await runner.call(call, Quiet())

    return asyncio.run(both())


def test_errors_of_a_stage_come_out_as_our_own() -> None:
    with pytest.raises(StageError, match=r"^break: ZeroDivisionError: by zero$"):
        call_once(StageCall(Break, {"latents": None}, Break.Params()))
    with pytest.raises(InputError, match="too long"):
        call_once(StageCall(Break, {"latents": None}, Break.Params(how="input")))
    with pytest.raises(StageError, match=r"^short: ValueError: "):
        call_once(StageCall(Short, {}, Short.Params()))


def test_steps_are_heard_on_the_loop_in_order() -> None:
    async def both() -> None:
        progress = Quiet()
        with LocalRunner(CHECKPOINT) as runner:
            await runner.call(StageCall(Step, {"latents": None}, Step.Params(steps=5)), progress)
        assert progress.heard == ["started", 0, 1, 2, 3, 4]

    asyncio.run(both())


def test_a_cancelled_call_ends_when_the_stage_has_stopped() -> None:
    async def both() -> None:
        with LocalRunner(CHECKPOINT) as runner:
            slow = StageCall(Step, {"latents": None}, Step.Params(steps=1000, pause=0.01))
            task = asyncio.ensure_future(runner.call(slow, Quiet()))
            while Step.steps_done < 2:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            steps = Step.steps_done
            await asyncio.sleep(0.05)
            assert Step.steps_done == steps

    asyncio.run(both())
    assert Step.steps_done < 100


def test_a_call_that_has_no_place_yet_is_cancelled_at_once() -> None:
    async def both() -> None:
        with LocalRunner(CHECKPOINT, workers=1) as runner:
            slow = StageCall(Step, {"latents": None}, Step.Params(steps=20, pause=0.01))
            busy = asyncio.ensure_future(runner.call(slow, Quiet()))
            waiting = asyncio.ensure_future(runner.call(HEAVY, Quiet()))
            await asyncio.sleep(0.02)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not busy.done()
            await busy

    asyncio.run(both())
    assert Heavy.loads == []


def test_values_are_held_and_fetched_wherever_they_stand() -> None:
    async def both() -> None:
        latents = Latents(np.zeros((8, 16, 2), np.float32))
        with LocalRunner(CHECKPOINT) as runner:
            held = await runner.hold({"a": [latents, 3], "b": None})
            assert held == {"a": [Handle("latents", latents.digest, latents.array.nbytes + 2), 3], "b": None}
            fetched = await runner.fetch(held)
            assert fetched["a"][0] is latents

    asyncio.run(both())


def test_numerics_are_those_of_the_placement() -> None:
    with LocalRunner(CHECKPOINT, Placement(dtype="bfloat16")) as runner:
        assert runner.numerics(Heavy) == "cpu-bfloat16"


HELD_AFTER_A_CALL = """
import asyncio, sys
import numpy as np
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.model.allocator import keep_freed_memory
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.decode_latents import DecodeLatents
from acestep_flows.values import Latents
from tests.runtime.test_local import Quiet


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


async def held(frames):
    latents = Latents(np.random.default_rng(0).standard_normal((8, 16, frames)).astype(np.float32))
    inputs = await runner.hold({"latents": latents})
    reply = await runner.call(StageCall(DecodeLatents, inputs, DecodeLatents.Params()), Quiet())
    return resident() - reply.outputs["mel"].nbytes


async def both():
    return -(await held(16)) + await held(512)


if not keep_freed_memory():
    sys.exit(77)
with LocalRunner(Checkpoint.open(sys.argv[1]), keep_freed=sys.argv[2] == "keep") as runner:
    print(asyncio.run(both()) >> 20)
"""


def test_what_a_network_freed_goes_back_where_another_works_next(small_root: Path) -> None:
    def held(policy: str) -> int:
        command = [sys.executable, "-c", HELD_AFTER_A_CALL, str(small_root), policy]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode == 77:
            pytest.skip("the C library has no such setting")
        assert process.returncode == 0, process.stderr
        return int(process.stdout)

    kept = held("keep")
    assert kept > 40
    assert held("return") < kept / 4


def test_numpy_has_as_many_threads_as_torch() -> None:
    """Resampling is a matrix product: with another number a song ends in other last digits."""
    with threadpool_limits(), LocalRunner(CHECKPOINT, threads=1):  # as it was is restored
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
