"""A database that is away: few lines in the log, and every run ends when it is back."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, NoReturn

import pytest

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.store.records import RunState
from acestep_flows.errors import Unavailable
from tests.api.toys import accept, all_ended, opened, scheduler_over, until

AWAY_SECONDS = 7.0


def test_an_outage_is_told_in_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "acestep_flows.api.execution")
    with opened(tmp_path) as home:

        def away(*args: Any, **more: Any) -> NoReturn:
            raise Unavailable("the database cannot be read")

        async def survive() -> int:
            with scheduler_over(home) as scheduler:
                executor = Executor(home, scheduler, poll=0.05)
                task = asyncio.create_task(executor.run())
                await asyncio.sleep(0.5)
                with monkeypatch.context() as patched:
                    for way in ("read", "write", "write_beside"):
                        patched.setattr(home.database, way, away)
                    await asyncio.sleep(AWAY_SECONDS)
                await all_ended(home)
                await until(lambda: "is back after " in caplog.messages[-1], 30)
                await executor.drain()
                await task
                return executor.failures.total()

        run = accept(home, steps=20, pause=0.1)
        failures = asyncio.run(survive())
        assert home.runs.get(run.id).state is RunState.SUCCEEDED
    assert failures > 100, "background work goes on trying"
    told = caplog.messages
    assert 2 <= len(told) <= 4, told
    assert "the database cannot be read" in told[0]
    assert "is back after " in told[-1]
    assert all("it failed" in line for line in told[1:])
