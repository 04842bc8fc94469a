"""A pool is ready while its processes answer, and what stands still is killed. With real processes, without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")
from acestep_flows.runtime.serving import pool_watch
from acestep_flows.runtime.serving.local_ray import OwnRay
from acestep_flows.runtime.serving.pool_watch import PoolWatch
from tests.waiting import alive, eventually

Answer = Callable[[float], tuple[set[int], bool]]


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_watch, "PERIOD", 0.02)
    monkeypatch.setattr(pool_watch, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(pool_watch, "KILL_SECONDS", 1.0)
    monkeypatch.setattr(pool_watch, "_ask_controller", lambda seconds: ({os.getpid()}, True))


class StubRay:
    """A Ray of given processes."""

    def __init__(self, *processes: psutil.Process) -> None:
        self.members = set(processes)
        self.broken = self.slow = ""

    def processes(self) -> set[psutil.Process]:
        return self.members

    def fault(self) -> str:
        return self.broken

    def problem(self) -> str:
        return self.slow


def watch(answer: Answer, own: Any = None, least: int = 1) -> PoolWatch:
    runner = SimpleNamespace(
        processes=("all",), pids_asker=lambda name: answer, least=lambda name: least, pool_ended=lambda: None
    )
    return PoolWatch(runner, own)  # type: ignore[arg-type]


def test_it_is_ready_while_a_replica_answers() -> None:
    watched = watch(lambda seconds: ({os.getpid()}, True))
    with watched.watching():
        time.sleep(0.2)
        assert watched.problem() == ""


def test_no_answer_is_a_problem_until_there_is_one() -> None:
    answers = threading.Event()

    def answer(seconds: float) -> tuple[set[int], bool]:
        return ({os.getpid()}, True) if answers.is_set() else (set(), False)

    watched = watch(answer)
    with watched.watching():
        eventually(lambda: watched.problem() == "process all does not answer")
        answers.set()
        eventually(lambda: watched.problem() == "")


def test_a_process_that_is_started_when_it_is_needed_may_be_missing() -> None:
    watched = watch(lambda seconds: (set(), True), least=0)
    with watched.watching():
        time.sleep(0.2)
        assert watched.problem() == ""
    silent = watch(lambda seconds: (set(), False), least=0)
    with silent.watching():
        eventually(lambda: silent.problem() == "process all does not answer")


def test_a_question_that_raises_or_hangs_is_one_too() -> None:
    def fail(seconds: float) -> tuple[set[int], bool]:
        raise RuntimeError("no")

    watched = watch(fail)
    with watched.watching():
        eventually(lambda: watched.problem() == "process all does not answer (RuntimeError)")
    over = threading.Event()
    watched = watch(lambda seconds: (set(), over.wait(60)))
    with watched.watching():
        eventually(lambda: watched.problem() == "process all does not answer")
    over.set()


def test_where_ray_has_ended_nothing_is_killed_to_be_replaced(
    sleeper: psutil.Process, caplog: pytest.LogCaptureFixture
) -> None:
    own, silent, rounds = StubRay(sleeper), threading.Event(), []

    def answer(seconds: float) -> tuple[set[int], bool]:
        rounds.append(silent.is_set())
        return (set(), False) if silent.is_set() else ({sleeper.pid}, True)

    watched = watch(answer, own)
    with watched.watching():
        eventually(lambda: rounds)
        own.broken = "Ray's raylet has ended"
        silent.set()
        eventually(lambda: watched.fault == own.broken)
        time.sleep(2 * pool_watch.KILL_SECONDS)
        assert rounds[-1]
        assert alive(sleeper)
    assert not caplog.messages


def test_a_process_that_stands_still_is_killed_and_no_other(sleeper: psutil.Process) -> None:
    """It answered once; another replica goes on to answer, so the pool stays ready."""
    silent, mine = threading.Event(), os.getpid()

    def answer(seconds: float) -> tuple[set[int], bool]:
        return ({mine}, False) if silent.is_set() else ({mine, sleeper.pid}, True)

    watched = watch(answer, StubRay(sleeper, psutil.Process()))
    with watched.watching():
        time.sleep(0.2)
        silent.set()
        time.sleep(0.4)
        assert alive(sleeper), "it may be slow for a moment"
        eventually(lambda: not alive(sleeper))
        assert watched.problem() == ""


def test_processes_of_others_are_never_killed(sleeper: psutil.Process) -> None:
    """On a cluster, or by a replica's word alone."""
    for own in (None, StubRay()):
        asked = iter(range(1_000_000))

        def answer(seconds: float, asked: Iterator[int] = asked) -> tuple[set[int], bool]:
            return ({sleeper.pid}, True) if next(asked) < 3 else (set(), False)

        with watch(answer, own).watching():
            time.sleep(1.5)
        assert alive(sleeper)


def test_a_fault_is_told_once_and_stays() -> None:
    own, told = StubRay(), list[str]()
    watched = watch(lambda seconds: ({1}, True), own)
    with watched.watching(told.append):
        own.slow = "Ray's raylet stands still"
        assert watched.problem() == own.slow
        own.broken = "Ray's raylet has ended"
        eventually(lambda: bool(told))
        time.sleep(0.1)
    assert told == [watched.fault] == [watched.problem()] == ["Ray's raylet has ended"]


def test_ray_whose_core_ends_or_stands_still_has_a_fault(
    sleeper: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acestep_flows.runtime.serving.local_ray.STANDSTILL_SECONDS", 0.2)
    own = OwnRay()
    own._core = {"raylet": sleeper}
    assert (own.problem(), own.fault()) == ("", "")
    sleeper.suspend()
    eventually(lambda: own.problem() == "Ray's raylet stands still")
    eventually(lambda: own.fault().startswith("Ray has stood still for"))
    sleeper.resume()
    eventually(lambda: (own.problem(), own.fault()) == ("", ""))
    sleeper.kill()
    eventually(lambda: own.fault() == "Ray's raylet has ended")
    own._core = {}
    monkeypatch.setattr("ray.shutdown", lambda: None)
    own.end()
