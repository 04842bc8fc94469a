"""Executors that are killed, terminated or stopped: every run ends once all the same."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from tests.api.toys import LEASE, accept, all_ended, ends, opened, process, until, work


def test_twenty_runs_end_once_each_though_executors_die(tmp_path: Path) -> None:
    """SIGKILL, again and again, while two executors share the queue; finished nodes are not computed again."""
    log = tmp_path / "log"
    with opened(tmp_path / "home") as home:
        runs = [accept(home, seed=seed, steps=5, pause=0.03, log=str(log)) for seed in range(20)]

        def reached(done: int) -> bool:
            return home.runs.counts()[RunState.SUCCEEDED] >= done

        async def kill_and_wait() -> None:
            for done in (3, 9):
                with process(home.root) as first, process(home.root) as second:
                    await until(partial(reached, done), 60)
                    first.send_signal(signal.SIGKILL)
                    second.send_signal(signal.SIGKILL)
            assert home.runs.counts()[RunState.RUNNING] > 0
            with process(home.root):
                await all_ended(home, 60)

        asyncio.run(kill_and_wait())
        assert home.runs.counts()[RunState.SUCCEEDED] == 20
        assert [ends(home, run.id) for run in runs] == [["succeeded"]] * 20
        assert all([*home.runs.get(run.id).outputs] == ["audio", "latents", "report", "recipe"] for run in runs)
        assert max(home.runs.get(run.id).attempt for run in runs) > 1
        for run in runs:
            seqs = [event.seq for event in home.runs.events(run.id)]
            assert seqs == [*range(1, len(seqs) + 1)]
    # A logged call is repeated only if the process died before its result was on disk: once for each dead process.
    calls = Counter(line.rsplit(" ", 1)[0] for line in log.read_text().splitlines())
    assert len(calls) == 40
    assert sum(calls.values()) <= 40 + 4 * 4


def test_a_terminated_executor_ends_at_once(tmp_path: Path) -> None:
    async def terminate(home: Home) -> None:
        with process(home.root) as executor_process:
            await until(lambda: home.runs.counts()[RunState.RUNNING])
            executor_process.terminate()
            await until(lambda: executor_process.poll() is not None, 10)
            assert executor_process.returncode == 0

    with opened(tmp_path) as home:
        run = accept(home, steps=1000, pause=0.02)
        asyncio.run(terminate(home))
        assert home.runs.get(run.id).state is RunState.QUEUED


async def put_to_sleep(process: subprocess.Popen[bytes], home: Home) -> None:
    """Stop the process outside of a transaction, because it would hold the lock of SQLite."""
    while True:
        process.send_signal(signal.SIGSTOP)
        await until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        with closing(sqlite3.connect(home.root / "runs.sqlite", timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                await asyncio.sleep(0.005)
            else:
                connection.execute("ROLLBACK")
                return


def test_an_executor_that_slept_writes_nothing(tmp_path: Path) -> None:
    """It is stopped for longer than its lease. Afterwards another executor has its run."""
    log = tmp_path / "log"

    async def stop_and_wake(home: Home) -> None:
        with process(home.root) as sleeper:
            await until(lambda: any(node.step for node in home.runs.nodes(run.id)))
            await put_to_sleep(sleeper, home)
            task = asyncio.create_task(work(home))
            await until(lambda: home.runs.get(run.id).attempt == 2)
            sleeper.send_signal(signal.SIGCONT)
            await task

    # The second executor's lease outlasts a stall of this process, or the first one would rightly claim the run again.
    with opened(tmp_path / "home", lease=10 * LEASE) as home:
        run = accept(home, steps=60, pause=0.05, log=str(log))
        asyncio.run(stop_and_wake(home))
        assert home.runs.get(run.id).attempt == 2
        assert ends(home, run.id) == ["succeeded"]
