"""Graphs of toy stages, a store, and an executor in a process of its own that tests can kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from acestep_flows.api.execution.accepted_run import snapshot
from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import ENDED, NewRun, RunRecord
from acestep_flows.errors import FlowsError, NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.values import Audio, Latents, Report
from tests.api.store.with_tables import home_with_tables
from tests.graph.small_stages import STAGES, Weights

LEASE = 1.0
ROOT = Path(__file__).parents[2]

SONG = """
graph: song
version: 1
summary: Three nodes one after the other, and what they give.
inputs:
  seed:  {type: seed, default: random}
  steps: {type: int, default: 2, minimum: 1, maximum: 10000}
  pause: {type: float, default: 0.0}
  log:   {type: text, default: ""}
nodes:
  first:  {stage: make, with: {seed: $seed}}
  second: {stage: work, with: {latents: $first.latents, steps: $steps, pause: $pause, log: $log, tag: second}}
  third:  {stage: work, with: {latents: $second.latents, steps: $steps, pause: $pause, log: $log, tag: third}}
  audio:  {stage: sound, with: {latents: $third.latents}}
outputs: {audio: $audio.audio, latents: $third.latents, report: $audio.report}
"""

AGAIN = """
graph: again
version: 1
summary: From latents that are there.
inputs: {source: {type: latents}, more: {type: list of latents}}
nodes:
  third: {stage: mix, with: {parts: [$source, $rest.latents]}}
  rest:  {stage: mix, with: {parts: $more}}
outputs: {latents: $third.latents, both: [$third.latents, $source], report: $third.report}
"""

FAIL = """
graph: fail
version: 1
summary: One node that fails.
inputs: {mode: {type: text, default: crash}}
nodes: {bad: {stage: break, with: {how: $mode}}}
outputs: {latents: $bad.latents}
"""


class Work(Stage):
    """Makes latents in steps with pauses, and logs each finished call to a file."""

    name, version = "work", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents

    class Params(StageParams):
        steps: int = 3
        pause: float = 0.0
        log: str = ""
        tag: str = ""

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        (item,), (p,) = batch, params
        for done in range(p.steps):
            try:
                watch.step(0, done, p.steps)
            except FlowsError as error:
                return [error]
            time.sleep(p.pause)
        if p.log:
            with Path(p.log).open("a") as file:
                file.write(f"{p.tag} {item.latents.digest[:8]} {os.getpid()}\n")
        return [self.Out(Latents(item.latents.array + np.float32(1)))]


class Sound(Stage):
    """A short noise with one clipped sample."""

    name, version = "sound", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents

    @dataclass(frozen=True)
    class Out:
        audio: Audio
        report: Report

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        level = float(np.tanh(batch[0].latents.array.mean()))
        samples = np.full((2, 4800), level, np.float32)
        samples[0, 100] = 2.0
        return [self.Out(Audio(samples, 48_000), Report({"level": level}))]


TOYS: dict[str, type[Stage]] = STAGES | {"work": Work, "sound": Sound}


def no_graph(target: str, asking: Graph) -> Graph:
    raise NotFound(target)


def new_run(home: Home, text: str = SONG, **inputs: Any) -> NewRun:
    scope = checked(parse(text, "toy"), TOYS, no_graph)
    return snapshot(scope, inputs, home.assets.value)[1]


def accept(home: Home, text: str = SONG, *, how: Mapping[str, Any] | None = None, **inputs: Any) -> RunRecord:
    """Accept a run; `how` has fields of NewRun."""
    return home.runs.accept(replace(new_run(home, text, **inputs), **(how or {})))[0]


@contextmanager
def opened(root: Path, lease: float = LEASE, database: str | None = None) -> Iterator[Home]:
    """A store in `root`; its run table is in `database`, by default in a file there."""
    home = Home.open(root if database is not None else home_with_tables(root), database=database, lease=lease)
    try:
        yield home
    finally:
        home.close()


@contextmanager
def scheduler_over(home: Home, workers: int = 4, store: DiskStore | None = None) -> Iterator[Scheduler]:
    checkpoint: Any = Weights()
    with LocalRunner(checkpoint, workers=workers) as runner:
        cache = Cache(runner, store=store or DiskStore(home.results))
        yield Scheduler(TOYS, runner, cache, Timings(home.results / "timings.json"))


async def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until `what` returns something true, and return it."""
    end = time.monotonic() + seconds
    while not (result := what()):
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.02)
    return result


async def all_ended(home: Home, seconds: float = 90.0) -> None:
    def over() -> bool:
        counts = home.runs.counts()
        return sum(count for state, count in counts.items() if not state.ended) == 0

    await until(over, seconds)


@contextmanager
def process(root: Path, slots: int = 4, database: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """An executor in a process of its own, which is killed at the end."""
    arguments = [str(root), str(slots), *([database] if database is not None else [])]
    started = subprocess.Popen([sys.executable, "-m", "tests.api.executor_process", *arguments], cwd=ROOT)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


async def serve(root: Path, slots: int, database: str | None = None) -> None:
    with opened(root, database=database) as home, scheduler_over(home) as scheduler:
        executor = Executor(home, scheduler, slots=slots, poll=0.05)
        drained: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: drained.append(loop.create_task(executor.drain())))
        await executor.run()


async def work(home: Home, **options: Any) -> None:
    """Run an executor until every run has ended."""
    with scheduler_over(home) as scheduler:
        executor = Executor(home, scheduler, poll=0.02, **options)
        task = asyncio.create_task(executor.run())
        await all_ended(home)
        await executor.drain()
        await task


def ends(home: Home, run: str) -> list[str]:
    """The types of the events that end a run."""
    types = [event.type for event in home.runs.events(run) if not event.body["node"]]
    return [type for type in types if type in {state.value for state in ENDED}]
