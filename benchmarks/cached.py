"""Runs whose nodes are all in the cache: what a server costs besides computing.

    python -m benchmarks.cached [--checkpoint nano|small|middle|DIR] [--pool local] [--seconds 10] [--steps 8]
                                [--clients 8] [--runs 200] [--database sqlite postgresql] [--out results.json]
                                [--object-store [--moto PROGRAM]] [--new]

One song is made. Then clients ask for it again, each its own run after the other: submit it, wait for its end, and with
`--download` fetch the audio. Every run has its own record, events, recipe, and files with its own title.
`core_milliseconds` is the CPU time for each run: of the server's own process, of the pool with Ray, and of the clients.
With `--object-store`, artifacts are in an S3-compatible store (moto), and `stored_kilobytes` is what came to it for
each run, from the server's own process and from the pool. With `--new` every run is another song, which is made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from acestep_flows.client import AsyncClient
from benchmarks.fault_services import MOTO, ObjectStore, Postgres
from benchmarks.machine import report
from benchmarks.serving import WORDS, Server, served
from benchmarks.weights import open_weights

KEYS = "benchmark:benchmark"
"""Keys of the store; it takes any."""


def core_seconds(server: Server) -> dict[str, float]:
    """CPU time so far: of the server's process, of all its others, and of this process."""
    times = {"server": 0.0, "pool": 0.0}
    for process in server.family():
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            times["server" if process.pid == server.process.pid else "pool"] += used.user + used.system
    return times | {"client": time.process_time()}


def stored_bytes(server: Server, store: ObjectStore | None) -> dict[str, float]:
    """Bytes that came to the store so far, from the server's process and from all others."""
    if store is None:
        return {}
    own = store.carried[server.process.pid]
    return {"server": own, "pool": store.carried.total() - own}


async def again(
    server: Server,
    song: dict[str, Any],
    clients: int,
    runs: int,
    *,
    download: bool,
    new: bool,
    store: ObjectStore | None = None,
) -> dict[str, Any]:
    """Ask for a song that was made before, as often as `runs`; if `new`, for another one each time."""
    latencies: list[float] = []
    left = iter(range(runs))

    async def ask(client: AsyncClient) -> None:
        for number in left:
            started = time.perf_counter()
            asked = song | {"seed": 1000 * clients + number + 2} if new else song
            run = await client.wait((await client.submit("text2music", asked)).id)
            assert run.state == "succeeded", run.content
            assert new or all(node.state == "cached" for node in run.nodes), "a node was computed"
            if download:
                await client.output_in(run.id, "audio", "flac")
            latencies.append(time.perf_counter() - started)

    async with AsyncClient(server.url) as client:
        await client.wait((await client.submit("text2music", song)).id)
        before, started = core_seconds(server), time.perf_counter()
        stored = stored_bytes(server, store)
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(ask(client))
        seconds, after = time.perf_counter() - started, core_seconds(server)
    latencies.sort()
    kilobytes = {
        name: round((size - stored[name]) / 1000 / runs, 1) for name, size in stored_bytes(server, store).items()
    }
    return {
        "clients": clients,
        "runs_per_second": round(runs / seconds, 1),
        "p50": round(statistics.median(latencies), 3),
        "p99": round(latencies[int(0.99 * (len(latencies) - 1))], 3),
        "core_milliseconds": {name: round(1000 * (after[name] - before[name]) / runs, 1) for name in after},
        **({"stored_kilobytes": kilobytes} if kilobytes else {}),
    }


@contextlib.contextmanager
def run_table(kind: str) -> Iterator[str | None]:
    """URL of an empty run table; None is the SQLite file that a server has by default."""
    if kind == "sqlite":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="cached-") as folder:
        database = Postgres(Path(folder), flush=True)
        try:
            yield database.new_database("cached")
        finally:
            database.destroy()


@contextlib.contextmanager
def object_store(moto: str | None) -> Iterator[ObjectStore | None]:
    """An S3-compatible store by the program that is one; None: none."""
    store = None if moto is None else ObjectStore(moto)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cached", description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="nano", help="nano, small, middle, or a folder")
    parser.add_argument("--pool", default="local", help="shipped, or a file")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--runs", type=int, default=200, help="runs of each number of clients")
    parser.add_argument("--database", nargs="+", default=["sqlite"], choices=["sqlite", "postgresql"])
    parser.add_argument("--download", action="store_true", help="fetch the audio of each run")
    parser.add_argument("--object-store", action="store_true", help="artifacts in an S3-compatible store")
    parser.add_argument("--moto", default=MOTO, metavar="PROGRAM", help="moto's server, which is that store")
    parser.add_argument("--new", action="store_true", help="another song for each run")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    song = {**WORDS, "duration": arguments.seconds, "steps": arguments.steps, "seed": 1}
    results: dict[str, Any] = {"song": song, "checkpoint": arguments.checkpoint}
    with open_weights(arguments.checkpoint) as folder:
        for kind in arguments.database:
            with (
                run_table(kind) as url,
                object_store(arguments.moto if arguments.object_store else None) as store,
                served(
                    arguments.pool,
                    folder,
                    {"queued": 1000},
                    database=url,
                    artifacts=None if store is None else store.url(kind).replace("://", f"://{KEYS}@"),
                ) as server,
            ):
                results[kind] = [
                    asyncio.run(
                        again(
                            server,
                            song,
                            clients,
                            arguments.runs,
                            download=arguments.download,
                            new=arguments.new,
                            store=store,
                        )
                    )
                    for clients in arguments.clients
                ]
                print(kind, results[kind], flush=True)
    report(results, arguments.out)


if __name__ == "__main__":
    main()
