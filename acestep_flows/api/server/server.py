"""The whole server on one machine: Ray with the pool's processes, the run table, an executor, and HTTP.

HTTP and the executor run in this process, stages run in processes of their own, and all state is in the home folder.
If a stage's process dies, its calls are repeated. If this process dies, accepted runs continue after a restart from
their finished nodes, and unfinished songs from their last saved state.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.api.execution.webhook_signature import signing_key
from acestep_flows.api.http.keys import check_host, read_keys
from acestep_flows.api.server.address import bound, url_of
from acestep_flows.api.server.arenas import share_arenas
from acestep_flows.api.server.options import ServerOptions
from acestep_flows.api.server.pool_choice import PoolChoice, chosen_pool
from acestep_flows.api.server.pool_fault import (
    END_SECONDS,
    SIGNAL_SECONDS,
    START_END_SECONDS,
    ends_with_pool,
    exit_anyway,
)
from acestep_flows.api.server.start_report import StartReport
from acestep_flows.api.server.stop_signals import ignore_signals, interrupt_on_signal, start_ends_on_signal
from acestep_flows.api.store.adoption import unseen_runs
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.home_lock import locked_home
from acestep_flows.api.store.records import RunState
from acestep_flows.compat.spoken import OPTION, read_spoken
from acestep_flows.errors import StorageError
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.runtime.serving.joined_ray import app_name, joined_ray, telling_room
from acestep_flows.runtime.serving.loading import LoadingNotes
from acestep_flows.runtime.serving.local_ray import deploy, local_ray
from acestep_flows.runtime.serving.ray_environment import set_environment
from acestep_flows.settings import ARTIFACTS, Settings, defaulted, hidden
from acestep_flows.storage import open_to_others
from acestep_flows.tracing.provider import flush_spans, start_provider

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.pool_ray import PoolRay
    from acestep_flows.runtime.serving.pool_watch import PoolWatch
    from acestep_flows.runtime.serving.runner import ServeRunner

HTTP_PROCESS = "acestep_flows.api.server.http_process"
LOOPBACK = "127.0.0.1"
LOG = "server.log"
"""In the home folder: what Ray and other libraries print while the server runs."""

LOADING = "loading.log"
"""In the home folder while the server starts: what its processes are loading."""


def serve_forever(
    options: ServerOptions,
    settings: Settings,
    on_ready: Callable[[str, str], None],
    *,
    tell: Callable[[str], None] = lambda line: None,
    divert: Callable[[Path], AbstractContextManager[object]] = contextlib.nullcontext,
    show: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        on_ready: called once with a line for people and the address, which is in it.
        tell: called with lines for people about the start and the end.
        divert: given the path of a log, makes a context in which it takes what Ray and other libraries print.
        show: called when the server is ready, with the address of the page, if the page is served.

    Raises:
        InputError: the address, the pool or another option is not usable.
        CheckpointError: the weights are not usable.
        StorageError: the home folder is not usable.
        Conflict: another server uses the home folder.
        FlowsError: the pool does not start, or ended.
        KeyboardInterrupt: a signal ended the start; Terminated if it was SIGTERM.
    """
    share_arenas()
    start_provider(settings)
    with contextlib.ExitStack() as stack:
        stack.callback(flush_spans)
        stack.enter_context(start_ends_on_signal())
        keys = read_keys(settings)
        check_host(options.host, keys)
        if settings.webhook_secret is not None:
            signing_key(settings.webhook_secret)  # refused now rather than after the pool's start
        choice = chosen_pool(options, settings)
        listening = stack.enter_context(bound(options.host, options.port))
        doors = {
            one.name: stack.enter_context(bound(LOOPBACK, one.port, option=OPTION))
            for one in read_spoken(options.speak)
            if one.port is not None
        }
        home = _opened(stack, options, settings, url_of(listening))
        for line in (*choice.lines, *_open_to_others(home.root), f"log of Ray and other libraries: {home.root / LOG}"):
            tell(line)
        if keys and (note := unseen_runs(home.runs)):
            tell(note)
        stack.enter_context(divert(home.root / LOG))
        with StartReport(tell) as report:
            runner, own = _start(stack, choice, options, home, report)
        from acestep_flows.api.server.http_process import HttpProcess

        watch = _watch(runner, own)
        http_process = HttpProcess(options, settings, keys, choice.pool, home, runner, tell, watch)
        with ends_with_pool(own, tell, END_SECONDS):
            try:
                asyncio.run(http_process.run(listening, on_ready, show, doors))
            finally:
                ignore_signals()
                if watch is not None and watch.fault:
                    exit_anyway()
        farewell = _farewell(home)
    tell(farewell)


def _opened(stack: contextlib.ExitStack, options: ServerOptions, settings: Settings, address: str) -> Home:
    """The home folder, held by this server until the stack ends."""
    root = options.home.resolve()
    stack.enter_context(locked_home(root, address))
    database, artifacts = options.database or settings.database, options.artifacts or settings.artifacts
    home = Home.open(root, database=database, artifacts=artifacts)
    stack.callback(home.close)
    return home


def _open_to_others(root: Path) -> list[str]:
    """A warning if others may change what is in the home folder. That of the cache comes with the choice of weights."""
    fault = open_to_others(root)
    return [f"warning: {fault}, and what is in it is trusted (chown, chmod o-w)"] if fault else []


def _start(
    stack: contextlib.ExitStack, choice: PoolChoice, options: ServerOptions, home: Home, report: StartReport
) -> tuple[ServeRunner, PoolRay]:
    """Start or join Ray, and start the processes of the pool, which end with the stack."""
    joins, pool = options.ray is not None, choice.pool
    report.phase(f"joining the Ray cluster at {options.ray}" if joins else "starting Ray")
    # The HTTP process takes seconds to import. A thread does that while this one waits for Ray.
    set_environment(joins=joins)  # first, because that thread imports Ray too
    threading.Thread(target=_import_http_process, daemon=True).start()
    own: PoolRay
    app: tuple[str, ...] = ()
    if options.ray is not None:
        app = (app_name(home.root),)
        own = stack.enter_context(joined_ray(options.ray, *app))
    else:
        if options.rehearse:
            stack.enter_context(hidden(("CUDA_VISIBLE_DEVICES",)))  # with it, Ray refuses GPUs that are not there
        if options.artifacts is not None:  # its keys too, which are in no argument of a process or a call
            stack.enter_context(hidden((ARTIFACTS,)))
            stack.enter_context(defaulted(ARTIFACTS, options.artifacts))
        own = stack.enter_context(local_ray(pool.cpus, choice.gpus))
    interrupt_on_signal()
    count = sum(process.least for process in pool.processes.values())
    report.phase(f"starting {count} process{'es' if count != 1 else ''} for the stages")
    notes = home.root / LOADING
    waits: AbstractContextManager[None] = telling_room(pool, report.tell) if joins else contextlib.nullcontext()
    with report.following(LoadingNotes(notes)), ends_with_pool(own, report.tell, START_END_SECONDS), waits:
        try:
            runner = deploy({"pool": pool, "home": home.root, "loading": notes}, *app)
        except Exception:
            time.sleep(SIGNAL_SECONDS)  # a signal to all processes may have ended Ray's first; it is raised here
            raise
    stack.callback(runner.close)
    report.phase("starting HTTP")
    return runner, own


def _watch(runner: ServeRunner, own: PoolRay | None) -> PoolWatch | None:
    """A watch over the pool; None where stages run in this process."""
    if own is None:
        return None
    from acestep_flows.runtime.serving.pool_watch import PoolWatch

    return PoolWatch(runner, own)


def _farewell(home: Home) -> str:
    """What becomes of the runs that have not ended."""
    try:
        waiting = home.runs.counts()[RunState.QUEUED]
    except StorageError:
        return "stopped"
    if not waiting:
        return "stopped; every accepted run has ended"
    return f"stopped; {waiting} run{'s go' if waiting > 1 else ' goes'} on after the next start"


def _import_http_process() -> None:
    with garbage_collection_paused():
        importlib.import_module(HTTP_PROCESS)
