"""An outage is told in few lines: its beginning, counts after growing times, and its end."""

from __future__ import annotations

import logging

import pytest

from acestep_flows.api.execution.outage_log import CALM_SECONDS, QUIET_SECONDS, OutageLog


class Clock:
    """Seconds that tests advance."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outages(clock: Clock, caplog: pytest.LogCaptureFixture) -> OutageLog:
    caplog.set_level(logging.INFO)
    return OutageLog(logging.getLogger("acestep_flows.test"), clock)


def test_half_a_minute_of_five_works_that_fail_is_four_lines(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    works = ("claim", "renew", "write", "expire", "requeue")
    for _ in range(125):  # five times a second for 25 seconds
        for work in works:
            outages.failed(work, "the database cannot be read")
        clock.now += 0.2
    for work in works:
        outages.worked(work)
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "claim: the database cannot be read"
    assert [line.partition("(")[2] for line in told[1:-1]] == [
        "it failed 126 times in 5 s)",
        "it failed 501 times in 20 s)",
    ]
    assert told[-1] == "requeue: is back after 25 s; it failed 625 times"
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "WARNING", "INFO"]
    assert vars(caplog.records[-1])["failures"] == 625


def test_it_is_over_when_nothing_fails_any_more(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outages.failed("claim", "away")
    outages.failed("renew", "away")
    outages.worked("claim")
    outages.worked("sweep")
    assert len(caplog.records) == 1, "another work still fails"
    clock.now += 2.5
    outages.worked("renew")
    assert caplog.records[-1].getMessage() == "renew: is back after 2 s; it failed 2 times"
    outages.worked("renew")
    assert len(caplog.records) == 2, "told once"


def test_work_that_never_comes_again_ends_no_outage_late(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outages.failed("runs", "away")  # the last run: nothing tells that it would work again
    clock.now += QUIET_SECONDS
    outages.failed("claim", "away again")
    outages.worked("claim")
    told = [record.getMessage() for record in caplog.records]
    assert told == ["runs: away", "claim: away again", "claim: is back after 0 s; it failed once"]


def test_two_outages_are_two(outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        outages.failed("claim", "away")
        outages.worked("claim")
    assert len(caplog.records) == 4


def test_rare_work_is_not_waited_for(outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for work in ("claim", "sweep"):
        outages.failed(work, "away")
    outages.worked("claim")
    assert len(caplog.records) == 1
    clock.now += CALM_SECONDS
    outages.worked("claim")
    assert caplog.records[-1].getMessage() == "claim: is back after 3 s; it failed 2 times"


def test_work_that_alone_fails_each_time_is_never_back(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outages.failed("sweep", "no permission")
    for _ in range(50):
        clock.now += 1
        outages.worked("claim")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
