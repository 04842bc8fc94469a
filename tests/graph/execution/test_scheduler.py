"""Calls whose process is lost on the way: which losses count."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from acestep_flows.errors import LostProcess
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.stages.contract import StageParams
from tests.graph.small_stages import STAGES, Step


class Heard:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def started(self) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        self.steps.append(done)

    def preview(self, done: int, total: int, latents: Any) -> None:
        pass


class Mortal:
    """Dies in every attempt that is written down, having told of the steps; gives a reply when there is no more."""

    def __init__(self, *deaths: tuple[Sequence[int], bool], started: bool = True) -> None:
        self.deaths, self.started = list(deaths), started
        self.alone: list[int] = []

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        self.alone.append(call.alone)
        if not self.deaths:
            return Reply({}, 1.0)
        steps, shared = self.deaths.pop(0)
        if self.started:
            progress.started()
        for step in steps:
            progress.step(step, 100)
        error = LostProcess("gone")
        error.shared, error.alone = shared, call.alone > 0 and not shared
        raise error


def made(runner: Any) -> Reply:
    shared = Scheduler(STAGES, runner)
    return asyncio.run(shared.compute(StageCall(Step, {}, StageParams()), Heard()))


def test_a_loss_after_progress_does_not_count() -> None:
    mortal = Mortal(*((range(at, at + 12), False) for at in range(0, 100, 10)))
    assert made(mortal).seconds == 1
    assert len(mortal.alone) == 11


def test_two_losses_alone_and_at_one_place_are_the_end() -> None:
    mortal = Mortal((range(12), True), *[(range(10, 12), False)] * 3)
    with pytest.raises(LostProcess):
        made(mortal)
    assert mortal.alone == [0, 12, 12]


def test_a_loss_in_company_does_not_count_but_the_next_try_is_alone() -> None:
    mortal = Mortal(*[(range(6), True)] * 9)
    assert made(mortal).seconds == 1
    assert mortal.alone[:2] == [0, 6]
    assert min(mortal.alone[2:]) > 10**6  # what dies again beside others is alone to its end


def test_what_was_not_heard_to_start_has_some_more_tries() -> None:
    made(Mortal(*[((), False)] * 4, started=False))
    with pytest.raises(LostProcess):
        made(Mortal(*[((), False)] * 5, started=False))
