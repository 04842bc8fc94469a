"""Sessions in scripts, running loops, async code and threads; their life and their end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from acestep_flows import Session
from acestep_flows.errors import Cancelled, InputError
from acestep_flows.graph.execution.events import Event
from acestep_flows.session import RunResult
from tests.session.songs import LONG, SONG, when_sampling


def test_it_works_inside_a_running_event_loop(session: Session, result: RunResult) -> None:
    async def cell() -> RunResult:
        return session.run("text2music", **SONG)  # as a notebook's cell does

    assert asyncio.run(cell()).audio == result.audio


def test_async_runs_leave_the_callers_loop_free(session: Session) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async def main() -> list[RunResult]:
        ticking = asyncio.ensure_future(tick())
        songs = [session.run_async("text2music", **{**SONG, "seed": seed}, cache="off") for seed in (1, 2)]
        results = await asyncio.gather(*songs)
        ticking.cancel()
        return results

    first, second = asyncio.run(main())
    assert first.audio != second.audio
    assert ticks > 3


def test_a_cancelled_task_stops_its_run(session: Session) -> None:
    events: list[Event] = []

    async def main() -> None:
        task = asyncio.ensure_future(session.run_async("text2music", **LONG, cache="off", progress=hear))
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(task.cancel))
        await task

    stop: list[Callable[[], object]] = []

    def cancel() -> None:
        stop[0]()

    act = when_sampling(cancel)

    def hear(event: Event) -> None:
        events.append(event)
        act(event)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert (events[-1].node, events[-1].type) == ("", "cancelled")
    assert session._running == set()


def test_threads_are_served_side_by_side(session: Session) -> None:
    with ThreadPoolExecutor(4) as pool:
        seeds = [1, 2, 1, 2]
        results = list(pool.map(lambda seed: session.run("text2music", **{**SONG, "seed": seed + 100}), seeds))
    assert results[0].audio == results[2].audio != results[1].audio == results[3].audio


def test_weights_are_loaded_once(session: Session, result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    runner: Any = session.scheduler.runner
    loaded = dict(runner._loaded)
    session.run("text2music", **{**SONG, "seed": 11})
    assert runner._loaded.items() >= loaded.items()
    assert all(runner._loaded[stage] is instance for stage, instance in loaded.items())


def test_a_closed_session_says_so_and_has_no_threads(small_root: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    sampling = threading.Event()
    with Session(small_root, cache_folder=tmp_path) as session:
        session.run("text2music", **SONG)
        run = session.start("text2music", **LONG, progress=when_sampling(sampling.set))
        assert sampling.wait(60)
    with pytest.raises(Cancelled):
        run.result()
    left = {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("lane")}
    assert left == set()  # lanes belong to the process
    session.close()
    assert repr(session).endswith(", closed>")
    for use in (session.run, session.start, session.plan):
        with pytest.raises(InputError, match="^the session is closed; make a new one$"):
            use("text2music", **SONG)
    with pytest.raises(InputError, match="the session is closed"):
        asyncio.run(session.run_async("text2music", **SONG))


def test_a_session_that_nobody_closed_frees_its_weights_and_threads(small_root: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    session = Session(small_root, cache_folder=tmp_path)
    session.run("text2music", **SONG)
    runner = weakref.ref(session.scheduler.runner)
    started = [thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("lane")]
    del session
    gc.collect()
    assert runner() is None
    for thread in started:
        thread.join(10)
    assert started
    assert not [thread for thread in started if thread.is_alive()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_session_from_before_a_fork_says_so(session: Session, result: RunResult) -> None:
    child = os.fork()
    if child == 0:
        try:
            session.run("text2music", **SONG)
        except InputError as error:
            os._exit(0 if "before a fork" in str(error) else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert session.run("text2music", **SONG).audio == result.audio


SCRIPT = """
from acestep_flows import Session

with Session(ROOT, cache="off") as session:
    result = session.run("text2music", tags="pop", duration=1, steps=2, seed=7)
    print(result.save("songs"))
"""

INTERRUPTED = """
import sys
from acestep_flows import Session

session = Session(ROOT)
try:
    hear = lambda event: print(event.type, flush=True)
    session.run("text2music", tags="pop", duration=60, steps=200, progress=hear).save("songs")
except KeyboardInterrupt:
    again = session.run("text2music", tags="pop", duration=1, steps=1)
    print("interrupted", len(session._running), again.audio.channels)
"""

LEFT_OPEN = """
import atexit, threading
from torch.nn.modules.module import register_module_forward_pre_hook
from acestep_flows import Session

passes = []
register_module_forward_pre_hook(lambda network, given: passes.append(type(network).__name__))
atexit.register(lambda: print(passes.count("Transformer"), flush=True))
sampling = threading.Event()
session, idle, closed = Session(ROOT, cache="off"), Session(ROOT), Session(ROOT)
closed.close()
hear = lambda event: event.type == "progress" and sampling.set()
run = session.start("text2music", tags="pop", duration=60, steps=200, seed=1, progress=hear)
if WAIT:
    sampling.wait()
print("the end", flush=True)
"""


PASSES = 200
"""Forward passes of the run that is left open, at least."""


def script(text: str, small_root: Path, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "ACESTEP_FLOWS_CACHE": str(folder / "cache")}
    code = text.replace("ROOT", repr(str(small_root)))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_five_lines_make_a_song(small_root: Path, tmp_path: Path) -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 5
    with script(SCRIPT, small_root, tmp_path) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.count("songs/text2music-") == 3
    assert sorted(path.suffix for path in (tmp_path / "songs").iterdir()) == [".json", ".png", ".wav"]


def test_ctrl_c_stops_at_a_step_and_leaves_nothing_behind(small_root: Path, tmp_path: Path) -> None:
    with script(INTERRUPTED, small_root, tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "progress\n":
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-2:] == ["cancelled", "interrupted 0 2"]
    assert not (tmp_path / "songs").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".part", ".claim")]


@pytest.mark.parametrize("sampling", [True, False])
def test_a_session_left_open_ends_quietly_with_the_program(sampling: bool, small_root: Path, tmp_path: Path) -> None:
    with script(LEFT_OPEN.replace("WAIT", str(sampling)), small_root, tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        end, passes = process.stdout  # to the end of the process
        assert (process.wait(120), process.stderr.read()) == (0, "")
    assert end == "the end\n"
    assert int(passes) < PASSES / 4, "the run went on"


def test_a_notebook_plays_a_song(small_root: Path, tmp_path: Path) -> None:
    import nbclient
    import nbformat

    cells = SCRIPT.replace("ROOT", repr(str(small_root))).strip() + "\nresult"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cells)])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any("<audio" in output.get("data", {}).get("text/html", "") for output in notebook.cells[0].outputs)
