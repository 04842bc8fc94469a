"""Faults at the served door: a server that is started again when it ends, and songs that are submitted meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from acestep_flows.client import Client, Run
from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving.pool import Pool
from benchmarks.fault_services import SONG, Bench, ObjectStore, Postgres, free_port, full, small_disk

LATE = 4
"""Songs that are submitted while the fault lasts."""

GONE_SECONDS, STILL_SECONDS, FULL_SECONDS = 20.0, 30.0, 10.0
END_SECONDS = 240.0
"""How long the songs of a cell may take."""

DISK_MEGABYTES = 64


class Supervised:
    """A server that is started again a second after it has ended, until it is closed.

    Attributes:
        ends: exit codes and last words of each end that nobody asked for.
    """

    def __init__(self, folder: Path, home: Path, pool: Path, options: Sequence[str], env: Mapping[str, str]) -> None:
        self._folder, self._port, self._closing, self._ready = folder, free_port(), False, threading.Event()
        self._command = [sys.executable, "-m", "acestep_flows.cli", "serve", "--home", str(home), "--pool", str(pool)]
        self._command += ["--port", str(self._port), *options]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACESTEP_", "RAY_", "OMP_"))}
        self._env = {**kept, "ACESTEP_FLOWS_CACHE": str(folder / "cache"), **env}
        self.home, self.url, self.ends = home, f"http://127.0.0.1:{self._port}", list[str]()
        self.process: subprocess.Popen[str]
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()
        if not self._ready.wait(END_SECONDS):
            raise RuntimeError(f"the server does not start: {self.log[-500:]}")

    @property
    def log(self) -> str:
        return (self._folder / "serve.log").read_text()

    def raylet(self) -> int:
        """The id of the process that is Ray's node."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(int(child.pid) for child in children if child.name() == "raylet")

    def close(self) -> None:
        self._closing = True
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._thread.join(10)

    def _keep_running(self) -> None:
        while not self._closing:
            with (self._folder / "serve.log").open("a") as log:
                self.process = subprocess.Popen(
                    self._command,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            assert self.process.stdout is not None
            if re.match("ready at ", self.process.stdout.readline()):
                self._ready.set()
            self.process.wait()
            if not self._closing:
                words = self.log.strip().splitlines()
                self.ends.append(f"{self.process.returncode}: {words[-1][:160] if words else ''}")
                time.sleep(1.0)


Fault = Callable[[Supervised, Client, ExitStack], None]


def _stopped(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _replica(client: Client) -> int:
    (replica,) = client.stats()["serving"]["all"]
    return int(replica["pid"])


def _locked(home: Path) -> None:
    """Nobody can write to the run table for a while."""
    with contextlib.closing(sqlite3.connect(home / "runs.sqlite", timeout=60, isolation_level=None)) as table:
        table.execute("BEGIN EXCLUSIVE")
        time.sleep(GONE_SECONDS)
        table.execute("ROLLBACK")


FAULTS = {
    "calm": "nothing",
    "kill-server": "SIGKILL to the server",
    "kill-replica": "SIGKILL to the process that runs stages",
    "stop-server": "SIGSTOP to the server for 30 s",
    "stop-replica": "SIGSTOP to the process that runs stages, for 30 s",
    "sigterm": "SIGTERM to the server",
    "disk-full": "no byte left on the disk of the home for 10 s",
    "database-gone": "PostgreSQL stopped for 20 s",
    "database-locked": "SQLite locked for 20 s",
    "store-slow": "a second more for each message to the object store, for 20 s",
    "store-failing": "the object store answers 503 for 20 s",
    "node-lost": "SIGKILL to Ray's raylet",
}


def measure(name: str, bench: Bench, folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Serve songs through a fault."""
    home, options, env = folder / "home", [], {}
    store: ObjectStore | None = None
    database: Postgres | None = None
    if name == "disk-full":
        home = stack.enter_context(small_disk(DISK_MEGABYTES)) / "home"
    if name == "database-gone":
        database = Postgres(Path(tempfile.mkdtemp(prefix="faults-pg-")))
        stack.callback(database.destroy)
        options += ["--database", database.url]
    if name.startswith("store-"):
        store = ObjectStore(bench.moto)
        stack.callback(store.close)
        options += ["--artifacts", store.url("artifacts")]
        env = store.environment
    plain = home == folder / "home" and not options
    server = _plain(bench) if plain else _server(folder, home, bench, options, env, stack)
    home = server.home
    client = stack.enter_context(Client(server.url, patience=END_SECONDS))

    def strike() -> None:
        match name:
            case "kill-server":
                server.process.kill()
            case "kill-replica":
                os.kill(_replica(client), signal.SIGKILL)
            case "stop-server":
                _stopped(server.process.pid, STILL_SECONDS)
            case "stop-replica":
                _stopped(_replica(client), STILL_SECONDS)
            case "sigterm":
                server.process.terminate()
            case "disk-full":
                with full(home.parent):
                    time.sleep(FULL_SECONDS)
            case "database-locked":
                _locked(home)
            case "node-lost":
                os.kill(server.raylet(), signal.SIGKILL)
        if database is not None:
            database.stop()
            time.sleep(GONE_SECONDS)
            database.start()
        if store is not None:
            store.state = "slow" if name == "store-slow" else "failing"
            time.sleep(GONE_SECONDS)
            store.state = ""

    return _songs(server, client, bench, 1000 * list(FAULTS).index(name), strike)


def _server(
    folder: Path, home: Path, bench: Bench, options: Sequence[str], env: Mapping[str, str], stack: ExitStack
) -> Supervised:
    server = Supervised(folder, home, _pool(folder, bench), options, env)
    stack.callback(server.close)
    return server


def _plain(bench: Bench) -> Supervised:
    """The server with its run table and files in its home, which several cells use one after the other."""
    if "server" not in bench.kept:
        folder = Path(bench.stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        bench.kept["server"] = _server(folder, folder / "home", bench, [], {}, bench.stack)
    server: Supervised = bench.kept["server"]
    return server


def _pool(folder: Path, bench: Bench) -> Path:
    """The pool `local` with one thread, whose songs share no pass, so that they are bit for bit as alone."""
    pool = Pool.read("local").model_dump(mode="json", exclude_unset=True)
    pool["processes"]["all"]["threads"] = 1
    pool |= {"checkpoint": str(bench.weights), "engine": {**pool["engine"], "share_below": 0}}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump(pool))
    return path


def _songs(server: Supervised, client: Client, bench: Bench, first: int, strike: Callable[[], None]) -> dict[str, Any]:
    """Submit songs, do the fault when a quarter has ended, and look at all of them in the end."""

    def submit(seed: int) -> str:
        return client.submit("text2music", {**SONG, "seed": seed}, labels=cell).id

    cell, end, restarts = {"cell": f"{first}"}, first + bench.runs, len(server.ends)
    ids = {seed: submit(seed) for seed in range(first, end)}
    while sum(run.ended for run in map(client.status, ids.values())) < bench.runs // 4:
        time.sleep(0.1)
    began, refused = time.time(), 0
    with ThreadPoolExecutor(LATE + 1) as threads:
        striking = threads.submit(strike)
        late: dict[int, Future[str]] = {}
        for seed in range(end, end + LATE):
            time.sleep(1.0)
            late[seed] = threads.submit(submit, seed)
        striking.result()
        for seed, submitted in late.items():
            try:
                ids[seed] = submitted.result()
            except FlowsError:
                refused += 1
    expected = dict(enumerate(bench.digests(first, end + LATE), first))
    judged = _judged(client, ids, expected, began)
    ends = server.ends[restarts:]
    said = "; ".join([*ends, *judged.pop("reasons")]).replace("|", "/").replace("\n", " ")
    return {"refused": refused, **judged, "restarts": len(ends), "said": said}


def _judged(client: Client, ids: Mapping[int, str], expected: Mapping[int, str], began: float) -> dict[str, Any]:
    """How the songs ended."""
    until = time.monotonic() + END_SECONDS
    records: dict[int, Run] = {}
    for seed, id in ids.items():
        with contextlib.suppress(FlowsError):
            records[seed] = client.wait(id, timeout=max(1.0, until - time.monotonic()))
    ended = {seed: run for seed, run in records.items() if run.ended}
    finished = sorted(datetime.fromisoformat(run.content["finished_at"]).timestamp() for run in ended.values())
    times = [began, *(end for end in finished if end > began)]
    cells = {run.content["labels"]["cell"] for run in records.values()}
    listed = [run.id for cell in cells for run in client.runs(label=f"cell:{cell}")]
    failed = [run for run in ended.values() if run.state != "succeeded"]
    reasons = {str(run.failure)[:160] for run in failed}
    return {
        "runs": len(ids),
        "failed": len(failed),
        "lost": len(ids) - len(ended),
        "doubled": sum(not _once(client, run) for run in ended.values()) + len(listed) - len(ids),
        "equal": sum(_digest(client, run) == expected[seed] for seed, run in ended.items()),
        "silence": max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0),
        "reasons": sorted(reasons),
    }


def _once(client: Client, run: Run) -> bool:
    """Whether a run has started and ended once."""
    types = [event.type for event in client.events(run.id) if not event.node]
    ends = [kind for kind in types if kind in ("succeeded", "failed", "cancelled")]
    return types.count("started") == 1 and ends == [run.state]


def _digest(client: Client, run: Run) -> str:
    """The digest of a song's samples, as its recipe has it; empty if it has none."""
    if run.state != "succeeded":
        return ""
    with tempfile.TemporaryDirectory() as folder:
        recipe = json.loads(client.fetch_output(run.id, "recipe", Path(folder) / "recipe.json").read_text())
    return str(recipe["outputs"]["audio"]["value"][1])
