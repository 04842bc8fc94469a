"""Outputs that the processes of a pool write to an object store, with real processes and an S3-compatible store."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from acestep_flows.api.execution.accepted_run import snapshot
from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.execution.store_outputs import StoredOutputs, store_outputs
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunRecord, RunState
from acestep_flows.audio.kept_encodings import KeptEncodings
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.content import Handle, Outputs, leaves
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.runner import Store
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.runtime.serving import deployment
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.runtime.serving.stage_host import StageHost
from acestep_flows.settings import ARTIFACTS
from acestep_flows.stages.registry import stages
from benchmarks.fault_services import ObjectStore
from tests.api.toys import all_ended
from tests.runtime.serving.pools import split

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

KEYS = "marked-key:marked-secret-0123"
URL_FILE = "artifacts-url"
AWAY_SECONDS = 4.0
LARGE = 50_000
"""Bytes of a request that only files of songs have."""

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SAVING: ContextVar[bool] = ContextVar("saving", default=False)


class WithKeys(StageHost):
    """Has the keys of the store in its environment, as processes have them that are started for it."""

    def __init__(self, pool: Any, name: str, home: Path, loading: Path | None = None) -> None:
        os.environ[ARTIFACTS] = (home / URL_FILE).read_text()
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        super().__init__(pool, name, home, loading)


class Watched(ServeRunner):
    """Counts what comes into this process, beside what goes into the cache on disk."""

    fetched: Counter[str]

    async def fetch(self, content: Any) -> Any:
        if not SAVING.get():
            self.fetched.update(leaf.kind for leaf in leaves(content) if isinstance(leaf, Handle))
        return await super().fetch(content)

    async def save(self, store: Store, key: str, outputs: Outputs, stage: str) -> None:
        token = SAVING.set(True)
        try:
            await super().save(store, key, outputs, stage)
        finally:
            SAVING.reset(token)


@pytest.fixture(scope="module")
def url(object_store: ObjectStore) -> str:
    return object_store.url("files").replace("s3://", f"s3://{KEYS}@")


@pytest.fixture(scope="module")
def runner(ray_cluster: str, small_root: Path, url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    from ray import serve

    from acestep_flows.runtime.serving.local_ray import deploy

    home = tmp_path_factory.mktemp("pool")
    (home / URL_FILE).write_text(url)
    pool = split(small_root).model_copy(update={"name": "writers"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "StageHost", WithKeys)
        deploy({"pool": pool, "home": str(home)}, pool.name).close()
    runner = Watched.connect(pool, pool.name)
    assert isinstance(runner, Watched)
    yield runner
    runner.close()
    serve.delete(pool.name)


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    home = Home.open(tmp_path / "home", artifacts=url)
    yield home
    home.close()


@pytest.fixture(autouse=True)
def calm(runner: Watched, object_store: ObjectStore) -> Iterator[None]:
    runner.fetched = Counter()
    object_store.carried.clear()
    yield
    object_store.state, object_store.meets = "", lambda pid, chunk: b""


def accept(home: Home, seed: int) -> RunRecord:
    library = Library(working=None)
    scope = checked(library.load("text2music"), stages(), library.nested)
    words = {"tags": "funk", "lyrics": "[verse]\nhello", "duration": 6.0, "steps": 2, "seed": seed}
    new = snapshot(scope, words, home.assets.value)[1]
    return home.runs.accept(new)[0]


@dataclass
class Played:
    """What each run stored, and what the server itself would have stored; bytes that came to the store for the runs."""

    pairs: list[tuple[StoredOutputs, StoredOutputs]] = field(default_factory=list)
    by_server: int = 0
    by_hosts: int = 0


def executed(home: Home, runner: Watched, object_store: ObjectStore) -> Played:
    """Execute all accepted runs."""
    played = Played()

    async def work() -> None:
        scheduler = Scheduler(stages(), runner, Cache(runner, store=DiskStore(home.results)))
        executor = Executor(home, scheduler, poll=0.05)
        store, calls = executor._outputs.store, list[tuple[Any, ...]]()

        async def observed(*arguments: Any) -> StoredOutputs:
            stored = await store(*arguments)
            calls.append((stored, *arguments))
            return stored

        executor._outputs.store = observed  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(executor.run())
        await all_ended(home)
        await executor.drain()
        await task
        played.by_server = object_store.carried[os.getpid()]
        played.by_hosts = object_store.carried.total() - played.by_server
        fetched = runner.fetched.copy()
        for stored, outputs, recipe, format, stem in calls:
            values = await runner.fetch(dict(outputs))
            kept = KeptEncodings()
            again = store_outputs(values, recipe, artifacts=home.artifacts, format=format, stem=stem, kept=kept)
            played.pairs.append((stored, again))
        runner.fetched = fetched

    asyncio.run(work())
    return played


def unfinished(home: Home) -> int:
    files: Any = home.artifacts.unfinished_elsewhere
    return len(files._files.get_file_info(fs.FileSelector(files.folder)))


def test_audio_does_not_enter_the_servers_process(runner: Watched, home: Home, object_store: ObjectStore) -> None:
    runs = [accept(home, seed) for seed in (1, 2)]
    played = executed(home, runner, object_store)
    assert {home.runs.get(run.id).state for run in runs} == {RunState.SUCCEEDED}
    assert runner.fetched["audio"] == 0
    songs = [output for stored, _ in played.pairs for output in stored.outputs if output.kind == "audio"]
    assert len(songs) == 2
    size = sum(song.blob.bytes for song in songs)
    assert played.by_hosts > size > 2 * LARGE
    assert 5 * played.by_server < size, "small values, recipes, and where files have their places"
    assert all(stored == again for stored, again in played.pairs), "the same files to the byte, and the same words"


def test_a_host_that_is_killed_while_it_writes_costs_no_run(
    runner: Watched, home: Home, object_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    killed, uploaded = list[int](), Counter[int]()

    def kill(pid: int, chunk: bytes) -> bytes:
        if pid not in (0, os.getpid()):
            uploaded[pid] += len(chunk)
            if uploaded[pid] > LARGE and not killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
        return b""

    object_store.meets = kill
    run = accept(home, 3)
    ((stored, again),) = executed(home, runner, object_store).pairs
    assert len(killed) == 1
    assert home.runs.get(run.id).state is RunState.SUCCEEDED
    assert stored == again
    assert runner.fetched["audio"] == 0, "another process of the pool wrote it"
    assert not [line for line in caplog.messages if "writes outputs" in line]
    assert unfinished(home) <= 1, "what it had begun, which is swept"


def test_a_store_that_is_away_for_seconds_costs_no_run(runner: Watched, home: Home, object_store: ObjectStore) -> None:
    outages = list[threading.Timer]()

    def back() -> None:
        object_store.state = ""

    def fail(pid: int, chunk: bytes) -> bytes:
        if pid not in (0, os.getpid()) and not outages:
            object_store.state = "failing"
            outages.append(threading.Timer(AWAY_SECONDS, back))
            outages[0].start()
        return b""

    object_store.meets = fail
    run = accept(home, 4)
    ((stored, again),) = executed(home, runner, object_store).pairs
    assert outages
    outages[0].join()
    assert home.runs.get(run.id).state is RunState.SUCCEEDED
    assert stored == again


def test_hosts_that_may_not_write_are_told_once_and_the_server_writes(
    runner: Watched, home: Home, object_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "acestep_flows.api.execution")
    object_store.meets = lambda pid, chunk: b"" if pid in (0, os.getpid()) else FORBIDDEN
    runs = [accept(home, seed) for seed in (5, 6)]
    pairs = executed(home, runner, object_store).pairs
    assert {home.runs.get(run.id).state for run in runs} == {RunState.SUCCEEDED}
    assert all(stored == again for stored, again in pairs)
    assert runner.fetched["audio"] == 2
    lines = [line for line in caplog.messages if "the server itself writes outputs" in line]
    assert len(lines) == 1
    assert not any(part in lines[0] for part in KEYS.split(":"))
