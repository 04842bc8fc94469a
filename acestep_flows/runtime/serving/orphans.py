"""Processes and folders that a local Ray leaves when its owner is killed, and how the next one removes them.

Each Ray has a folder with a list of its processes. Most of them notice that the owner is gone; some take minutes, and
hold ports meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

PREFIX = "acestep-flows-"
STOP_SECONDS = 5.0

_LIST = "processes.json"


def new_folder() -> Path:
    """A folder for a Ray of this process. Its path is short, because paths of sockets are limited."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    note(folder, [])
    return folder


def note(folder: Path, started: Iterable[psutil.Process]) -> None:
    """Write the owner of the folder and its processes: ids with start times, because ids are used again."""
    listed = [[process.pid, process.create_time()] for process in (psutil.Process(), *started)]
    (folder / _LIST).write_text(json.dumps(listed))


def clear() -> None:
    """End processes and remove folders whose owner is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            (owner, *started) = json.loads((folder / _LIST).read_text())
            if not list(_alive([owner])):
                end(list(_alive(started)), gently=False)  # their owner is dead: nothing is left to save
                shutil.rmtree(folder, ignore_errors=True)


def end(processes: list[psutil.Process], patience: float = 0.0, *, gently: bool = True) -> None:
    """End processes.

    Args:
        patience: seconds in which they may end by themselves.
        gently: terminate them before killing them.
    """
    left = _outlasting(processes, patience)
    for ask in (psutil.Process.terminate, psutil.Process.kill) if gently else (psutil.Process.kill,):
        for process in left:
            with contextlib.suppress(psutil.Error):
                ask(process)
        left = _outlasting(left, STOP_SECONDS)


def _outlasting(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after at most `seconds`. A zombie counts as ended."""
    until = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _alive(listed: Iterable[tuple[int, float]]) -> Iterator[psutil.Process]:
    """The listed processes that still run, without others that have got their ids since."""
    for pid, created in listed:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() == created and _runs(process):
                yield process
