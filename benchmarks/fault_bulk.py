"""Faults at the bulk door: a job whose command is given again until it ends well."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.bulk.tracking import DATABASE
from acestep_flows.errors import StorageError
from benchmarks.fault_services import SONG, Bench, ObjectStore, full, small_disk

GONE_SECONDS, STILL_SECONDS, FULL_SECONDS = 20.0, 30.0, 10.0
END_SECONDS = 240.0
DISK_MEGABYTES = 64
CALLS = 4
"""How often the command is given at most."""

FAULTS = {
    "calm": "nothing",
    "kill-driver": "SIGKILL to the command",
    "kill-actor": "SIGKILL to a process that renders",
    "stop-driver": "SIGSTOP to the command for 30 s",
    "stop-actor": "SIGSTOP to a process that renders, for 30 s",
    "sigterm": "SIGTERM to the command",
    "disk-full": "no byte left on the disk of the job for 10 s",
    "database-locked": "MLflow's database in the job's folder locked for 20 s",
    "store-slow": "a second more for each message to the object store that holds the job, for 20 s",
    "store-failing": "the object store answers 503 for 20 s",
    "node-lost": "SIGKILL to Ray's raylet",
}


class Job:
    """The command, and what it has left in its folder."""

    def __init__(self, folder: Path, out: str, bench: Bench, tracking: bool, env: dict[str, str]) -> None:
        manifest = folder / "songs.jsonl"
        rows = [{"id": f"r{seed}", "seed": seed, **SONG} for seed in range(bench.runs)]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [sys.executable, "-m", "acestep_flows.cli", "bulk", str(manifest), "--graph", "text2music"]
        self._command = [*command, "--out", out, "--checkpoint", str(bench.weights)]
        self._command += [] if tracking else ["--tracking", "off"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACESTEP_", "RAY_", "OMP_"))}
        self._env = {**kept, "ACESTEP_FLOWS_CACHE": str(folder / "cache"), **env}
        self._folder = folder
        self.job_folder = JobFolder(out)
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        with (self._folder / "bulk.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )

    def wait(self) -> str:
        """Exit code and last words; a job that hangs is killed."""
        try:
            code = str(self.process.wait(END_SECONDS))
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = f"hangs, killed after {END_SECONDS:.0f} s"
        words = (self._folder / "bulk.log").read_text(errors="replace").strip().splitlines()
        return f"{code}: {words[-1][:160] if words else ''}"

    def songs(self) -> int:
        """Songs that are written; a store that does not answer shows none."""
        with contextlib.suppress(StorageError):
            return len(self.job_folder.names("audio/00000"))
        return 0

    def process_named(self, part: str) -> int:
        """The id of a process below the command by a part of its title."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if part in child.name() or part in " ".join(child.cmdline()[:1]):
                    return int(child.pid)
        raise RuntimeError(f"no process {part}")


def measure(name: str, bench: Bench, folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Render a job through a fault."""
    out, env = str(folder / "job"), dict[str, str]()
    store: ObjectStore | None = None
    if name == "disk-full":
        out = str(stack.enter_context(small_disk(DISK_MEGABYTES)) / "job")
    if name.startswith("store-"):
        store = ObjectStore(bench.moto)
        stack.callback(store.close)
        out, env = store.url("job"), store.environment
        os.environ.update(env)  # this process reads the job's tables too
    job = Job(folder, out, bench, tracking=name == "database-locked", env=env)

    def strike() -> None:
        match name:
            case "kill-driver":
                job.process.kill()
            case "kill-actor":
                os.kill(job.process_named("MapBatches"), signal.SIGKILL)
            case "stop-driver":
                _stopped(job.process.pid)
            case "stop-actor":
                _stopped(job.process_named("MapBatches"))
            case "sigterm":
                job.process.terminate()
            case "disk-full":
                with full(Path(out).parent):
                    time.sleep(FULL_SECONDS)
            case "database-locked":
                _locked(Path(out))
            case "node-lost":
                os.kill(job.process_named("raylet"), signal.SIGKILL)
        if store is not None:
            store.state = "slow" if name == "store-slow" else "failing"
            time.sleep(GONE_SECONDS)
            store.state = ""

    return _rows(job, bench, strike)


def _stopped(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STILL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _locked(out: Path) -> None:
    """Nobody can write to the tracking database for a while."""
    with contextlib.closing(sqlite3.connect(out / DATABASE, timeout=60, isolation_level=None)) as table:
        table.execute("BEGIN EXCLUSIVE")
        time.sleep(GONE_SECONDS)
        table.execute("ROLLBACK")


def _rows(job: Job, bench: Bench, strike: Callable[[], None]) -> dict[str, Any]:
    """Start the job, do the fault when a quarter is done, give the command again, and look at its tables."""
    job.start()
    until = time.monotonic() + END_SECONDS
    while job.songs() < bench.runs // 4 and job.process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    began, ends = time.time(), list[str]()
    if job.process.poll() is None:
        strike()
    while not (said := job.wait()).startswith("0:"):
        ends.append(said)
        if len(ends) == CALLS:
            break
        job.start()
    rows, expected = list(Ledger(job.job_folder).rows()), bench.digests(0, bench.runs)
    done = {row.id: row for row in rows if row.status == "done"}
    given_up = {row.id for row in rows if row.status == "failed"} - done.keys()
    times = [began, *sorted(row.finished for row in done.values() if row.finished is not None and row.finished > began)]
    return {
        "runs": bench.runs,
        "failed": len(given_up),
        "lost": bench.runs - len(done) - len(given_up),
        "doubled": sum(row.status == "done" for row in rows) - len(done),
        "equal": sum(row.audio_digest == expected[int(id[1:])] for id, row in done.items()),
        "restarts": len(ends),
        "silence": max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0),
        "said": "; ".join(ends).replace("|", "/"),
    }
