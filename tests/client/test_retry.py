"""How long clients wait, with a simulated clock."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.client.retry import HOLD, POLL_PAUSES, TELL_AFTER, RetryBudget, RunPoll
from acestep_flows.errors import Unreachable


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0, 100), st.lists(st.floats(0, 1), max_size=60))
def test_a_vigil_ends_in_time_whatever_the_server_does(timeout: float, shares: list[float]) -> None:
    clock = Clock()
    poll = RunPoll("run-1", timeout, clock)
    end = clock.now + timeout
    for share in shares:
        held = poll.hold()
        assert 0 <= held <= HOLD
        clock.now += share * held
        if clock.now >= end:
            with pytest.raises(TimeoutError, match=f"run run-1 is queued after {re.escape(str(timeout))} s"):
                poll.pause("queued")
            return
        pause = poll.pause("queued")
        assert 0 <= pause <= POLL_PAUSES[1]
        clock.now += pause
        assert clock.now <= end + 1e-3


def test_pauses_grow_only_if_the_server_does_not_hold_responses() -> None:
    clock = Clock()
    poll = RunPoll("run-1", None, clock)
    pauses = []
    for took in (0.0, 0.0, 0.0, HOLD, 0.0):
        assert poll.hold() == HOLD
        clock.now += took
        pauses.append(poll.pause("running"))
    assert pauses[:3] == sorted(pauses[:3])
    assert pauses[0] < pauses[2]
    assert pauses[3:] == [0.0, POLL_PAUSES[0]]


def test_a_timeout_of_zero_polls_once() -> None:
    poll = RunPoll("run-1", 0, Clock())
    assert poll.hold() == 0
    with pytest.raises(TimeoutError):
        poll.pause("running")


@pytest.mark.parametrize("patience", [3.0, 60.0, 600.0])
def test_a_long_wait_is_told_once_and_a_short_one_is_not(patience: float, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    budget = RetryBudget(patience, "http://a", clock=clock)
    told: list[float] = []
    while clock.now < 1000 + patience:
        pause = budget.pause(ConnectionError())
        told += [clock.now - 1000 for _ in caplog.records[len(told) :]]
        clock.now += pause
    with pytest.raises(Unreachable, match="http://a does not answer: ConnectionError"):
        budget.pause(ConnectionError())
    assert len(told) == (patience > 10)
    assert all(TELL_AFTER <= second < 4 for second in told)


def test_an_answer_ends_a_wait(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    budget = RetryBudget(60, "http://a", clock=clock)
    for _ in range(50):
        clock.now += 30 + budget.pause("the event stream ended early")
        budget.renew()
    assert not caplog.records
    for _ in range(2):
        while len(caplog.records) == 0:
            clock.now += budget.pause("gone")
        caplog.clear()
        budget.renew()
