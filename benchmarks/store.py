"""The run table when it is large: each query's time at a million runs, and runs a second through several executors.

    python -m benchmarks.store [--runs 1000000] [--database sqlite postgresql] [--executors 1 2 4] [--out results.json]

The first table has the longest statement of each thing that is asked of the store, in milliseconds, the best of three.
The second one has the runs a second that executors claim, write about once and end with two outputs each: as many
processes as the column says, eight runs at a time, no stage in between. PostgreSQL is one of its own, with `fsync` on.

Before both it counts what one run costs, in waves of eight and alone: statements, commits, and flushes of the disk. The
floor is 4 statements to accept a run and 21 to claim it, to write about it and to end it, in 4 transactions of which 2
are flushed: that it is accepted, and that it has ended. A wave shares all of them; only the row of a new run is a
statement of its own. PostgreSQL has one more in each transaction, the lock of writers.

- accept: count the queue, insert the run, take numbers for events, insert these;
- claim: look for work, find the next runs, update them, take numbers, insert events;
- write: lock the runs, write nodes, update progress, take numbers, insert events;
- end: lock the runs, write nodes, insert outputs, update the runs, read events, nodes and outputs for metrics, add to
  the usage, take numbers, insert events; and a last look for work.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.leases import RunChanges
from acestep_flows.api.store.queue_estimate import typical_seconds
from acestep_flows.api.store.records import Blob, ClaimedRun, NewOutput, NewRun, NodeRecord, QueueLimits, RunState
from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.api.store.statistics import active_node_counts, node_durations, runs_ended_since
from benchmarks.fault_services import Postgres
from benchmarks.machine import report
from benchmarks.store_filling import BEGUN, YEAR, fill

SLOTS = 8
OWN = "/* benchmark */"
"""What statements of this benchmark itself begin with. They are not timed."""

NO_LIMIT = QueueLimits(queued=None)
RARE = "owner-13"
NOW = BEGUN + YEAR


@dataclass
class Stopwatch:
    """Times the statements of a database: each from its start to the next one, or to the end of its transaction.

    Attributes:
        longest: seconds of the longest since it was last set to 0.
        quickest: the least seconds of each statement with its parameters since it was last cleared. A sweep is
            thousands of statements, of which some one always meets a pause of the machine.
    """

    longest: float = 0.0
    quickest: dict[tuple[str, str], float] = field(default_factory=dict)
    statements: list[tuple[str, Any]] = field(default_factory=list)
    _begun: float | None = None

    def watch(self, home: Home) -> None:
        engine = home.database._engine
        event.listen(engine, "before_cursor_execute", self._begin)
        for name in ("commit", "rollback"):
            event.listen(engine, name, lambda connection: self._end())

    def _begin(self, connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        self._end()
        if statement.startswith(OWN):
            return
        self.statements.append((statement, parameters))
        self._begun = time.perf_counter()

    def _end(self) -> None:
        if self._begun is not None:
            seconds, (statement, parameters) = time.perf_counter() - self._begun, self.statements[-1]
            self.longest = max(self.longest, seconds)
            key = statement, repr(parameters)
            self.quickest[key] = min(seconds, self.quickest.get(key, seconds))
        self._begun = None


def new_run(owner: str = RARE, **fields: Any) -> NewRun:
    return NewRun(
        **({"graph": "graph-1", "digest": "d", "content": {"graph": {}}, "inputs": {"seed": 1}} | fields), owner=owner
    )


def questions(home: Home) -> dict[str, Callable[[], object]]:
    """What servers, executors, operators and callers ask of the store."""
    runs, leases, database = home.runs, home.leases, home.database

    def typical(graph: str | None, owner: str | None) -> object:
        with database.read() as connection:
            return typical_seconds(connection, graph, owner)

    def claim_and_end() -> None:
        claimed = leases.claim("benchmark")
        assert claimed is not None
        leases.finish(claimed.lease, RunState.SUCCEEDED)

    latest = runs.list(limit=1).runs[0].id
    return {
        "accept": lambda: runs.accept(new_run(), NO_LIMIT),
        "claim and end": claim_and_end,
        "renew": lambda: leases.renew("benchmark", 4, []),
        "queued runs past their deadline": leases.expire_queued,
        "counts": runs.counts,
        "counts of a caller": lambda: runs.counts(RARE),
        "active runs of a caller": lambda: home.usage.active(RARE),
        "active runs by caller": home.usage.active_by_owner,
        "runs ended in the last hour": lambda: list(runs_ended_since(database, NOW - 3600)),
        "nodes under way": lambda: active_node_counts(database),
        "typical seconds": lambda: typical(None, None),
        "typical seconds of a graph": lambda: typical("graph-3", None),
        "typical seconds of a caller's graph": lambda: typical("graph-3", RARE),
        "typical seconds of an unknown graph": lambda: typical("nothing", RARE),
        "place in the queue": lambda: runs.queue_estimate(latest),
        "durations of a caller's nodes": lambda: node_durations(database, RARE),
        "latest runs": runs.list,
        "failed runs of a caller": lambda: runs.list(owner=RARE, state=RunState.FAILED),
        "runs of a caller's graph": lambda: runs.list(owner=RARE, graph="graph-2"),
        "runs of nobody": lambda: runs.list(owner="nobody"),
        "running runs": lambda: runs.list(state=RunState.RUNNING),
        "runs of one day": lambda: runs.list(created_after=NOW - YEAR / 2, created_before=NOW - YEAR / 2 + 86_400),
        "runs with a rare label": lambda: runs.list(labels=["star"]),
        "runs with a frequent label": lambda: runs.list(labels=["title:song"]),
        "runs with a label that none has": lambda: runs.list(labels=["title:none"]),
        "events of all runs": lambda: home.feed.read(None, home.feed.head() - 100),
        "uploads of a caller": lambda: home.assets.uploads(owner=RARE),
        "usage": home.usage.by_owner,
        "sweep with nothing to remove": lambda: sweep(home, RetentionPolicy(None, 1 << 60, None, None), NOW),
        "sweep over budget": lambda: sweep(
            home, RetentionPolicy(None, _stored_bytes(home) - 5_000_000, None, None), NOW
        ),
        "sweep of old runs": lambda: sweep(home, RetentionPolicy(None, None, None, _age(home)), NOW),
    }


def _age(home: Home) -> float:
    """Seconds beyond which some hundred runs are old."""
    with home.database.read() as connection:
        moment = (
            f"{OWN} SELECT finished_at FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at LIMIT 1 OFFSET 150"
        )
        return NOW - float(connection.exec_driver_sql(moment).scalar_one())


def _stored_bytes(home: Home) -> int:
    with home.database.read() as connection:
        return int(connection.exec_driver_sql(f"{OWN} SELECT sum(bytes) FROM blobs").scalar_one())


def times(home: Home, repeats: int = 3) -> dict[str, float]:
    """Milliseconds of the longest statement of each question, at its best of some repeats."""
    watch, found = Stopwatch(), dict[str, float]()
    asked = questions(home)
    watch.watch(home)
    for name, ask in asked.items():
        best = float("inf")
        watch.quickest.clear()
        for _ in range(repeats):
            watch.longest = 0.0
            ask()
            best = min(best, watch.longest)
        found[name] = round(1000 * min(best, max(watch.quickest.values(), default=best)), 1)
    return found


def work(root: str, url: str | None, name: str, all_started: Barrier) -> None:
    """Be an executor until no run is left."""
    home = Home.open(Path(root), database=url, lease=600.0)
    all_started.wait()
    execute(home, name)
    home.close()


def execute(home: Home, name: str) -> None:
    """Claim runs, write about them once while they go on, and end them, SLOTS at a time."""
    waiting = {at: NodeRecord(f"node-{at}", "stage") for at in range(4)}
    done = {at: NodeRecord(f"node-{at}", "stage", "finished", seconds=0.1) for at in range(4)}
    events = [("finished", {"node": f"node-{at}", "time": 1.0}) for at in range(4)]
    first, rest = RunChanges(events[:1], {**waiting, 0: done[0]}, 0.2), RunChanges(events[1:], done, 0.9)
    blob = Blob("0" * 64, 1_000_000)
    outputs = [NewOutput(output, "audio", "t", "f", blob, {"seconds": 1.0}) for output in ("audio", "recipe")]

    def finish(claimed: ClaimedRun) -> None:
        assert home.leases.finish(claimed.lease, RunState.SUCCEEDED, changes=rest, outputs=outputs)

    with ThreadPoolExecutor(SLOTS) as threads:
        while claimed := home.leases.claim_several(name, SLOTS):
            home.leases.record({run.lease: first for run in claimed})
            list(threads.map(finish, claimed))


def accept(home: Home, runs: int) -> None:
    """Accept runs of four callers, as concurrent requests do."""
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda at: home.runs.accept(new_run(f"owner-{at % 4}"), NO_LIMIT), range(runs)))


def throughput(root: Path, url: str | None, executors: int, runs: int) -> float:
    """Runs a second that so many executors end together."""
    home = Home.open(root, database=url)
    accept(home, runs)
    context = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    names, all_started = [f"executor-{at}" for at in range(executors)], context.Barrier(executors)
    processes = [context.Process(target=work, args=(str(root), url, name, all_started)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with home.database.read() as connection:
        span = "SELECT count(*), max(finished_at) - min(started_at) FROM runs WHERE state = 'succeeded' AND graph = :g"
        ended, seconds = connection.execute(text(span), {"g": "graph-1"}).one()
    home.close()
    assert ended == runs, f"{ended} of {runs} runs ended, in {time.perf_counter() - started:.0f} s"
    return float(ended / seconds)


def work_of_a_run(root: Path, url: str | None, runs: int = 25 * SLOTS) -> dict[str, dict[str, float]]:
    """What one run costs its store: statements, commits and those that are flushed, as one of a wave and alone."""
    home, found = Home.open(root, database=url), dict[str, dict[str, float]]()
    for name, wave in (("in waves", runs), ("alone", 1)):
        counts = dict[str, Counter[str]]()
        for part, do in (("accept", accept), ("execute", lambda home, _: execute(home, "benchmark"))):
            with counted(home) as counts[part]:
                do(home, wave)
        found[name] = {
            f"{part} {what}": round(count / wave, 2) for part, each in counts.items() for what, count in each.items()
        }
    home.close()
    return found


@contextlib.contextmanager
def counted(home: Home) -> Iterator[Counter[str]]:
    """Counts statements and commits of a store while the context lasts."""
    counts, engine = Counter[str](), home.database._engine

    def statement(connection: Any, cursor: Any, text: str, *_: Any) -> None:
        counts["statements"] += not text.startswith(("BEGIN", "PRAGMA"))

    def commit(connection: Any) -> None:
        options = connection.get_execution_options()
        counts["commits"] += options.get("writes", False)
        counts["flushes"] += options.get("writes", False) and options.get("durable", True)

    heard = (("before_cursor_execute", statement), ("commit", commit))
    for name, hear in heard:
        event.listen(engine, name, hear)
    try:
        yield counts
    finally:
        for name, hear in heard:
            event.remove(engine, name, hear)


@contextlib.contextmanager
def databases(kind: str) -> Iterator[Callable[[str], tuple[Path, str | None]]]:
    """Makes homes with an empty database of their own, by a name."""
    with tempfile.TemporaryDirectory(prefix="store-") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield lambda name: (folder / name, None)
            return
        server = Postgres(folder, flush=True)
        try:
            yield lambda name: (folder / name, server.new_database(name))
        finally:
            server.destroy()


def measure(kind: str, runs: int, executors: list[int], ended: int) -> dict[str, Any]:
    """Both tables of one kind of database."""
    with databases(kind) as make:
        cost = work_of_a_run(*make("cost"))
        print(f"{kind}: what a run costs: {cost}", flush=True)
        rates = {str(count): round(throughput(*make(f"rate{count}"), count, ended), 1) for count in executors}
        print(f"{kind}: runs a second by executors: {rates}", flush=True)
        if not runs:
            return {"cost_of_a_run": cost, "runs_per_second": rates}
        root, url = make("large")
        home, started = Home.open(root, database=url), time.perf_counter()
        fill(home.database, runs)
        print(f"{kind}: {runs} runs in {time.perf_counter() - started:.0f} s", flush=True)
        milliseconds = times(home)
        home.close()
        print(f"{kind}: milliseconds at {runs} runs: {milliseconds}", flush=True)
    return {"milliseconds": milliseconds, "cost_of_a_run": cost, "runs_per_second": rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--executors", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--ended", type=int, default=2000, help="runs that the executors end")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    results = {kind: measure(kind, arguments.runs, arguments.executors, arguments.ended) for kind in arguments.database}
    report({"settings": vars(arguments), **results}, arguments.out)


if __name__ == "__main__":
    main()
