"""What a Ray of our own leaves when its owner is killed, and how the next one clears it away.

Each has a folder with a list of its processes. Most of them notice that the owner is gone; some take minutes, and hold
ports meanwhile.
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
    """A folder for a Ray of this process. Its path is short: those of sockets in it have some hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    note(folder, [])
    return folder


def note(folder: Path, started: Iterable[psutil.Process]) -> None:
    """Write down whose folder it is, and which processes belong to it. A number is worth nothing without the time."""
    listed = [[process.pid, process.create_time()] for process in (psutil.Process(), *started)]
    (folder / _LIST).write_text(json.dumps(listed))


def clear() -> None:
    """End processes and remove folders whose owner is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            (owner, *started) = json.loads((folder / _LIST).read_text())
            if not list(_alive([owner])):
                end(list(_alive(started)), gently=False)  # they have lost everything already
                shutil.rmtree(folder, ignore_errors=True)


def end(processes: list[psutil.Process], patience: float = 0.0, *, gently: bool = True) -> None:
    """End processes.

    Args:
        patience: seconds they have to end by themselves.
        gently: ask them before killing them.
    """
    left = _outlasting(processes, patience)
    for ask in (psutil.Process.terminate, psutil.Process.kill) if gently else (psutil.Process.kill,):
        for process in left:
            with contextlib.suppress(psutil.Error):
                ask(process)
        left = _outlasting(left, STOP_SECONDS)


def _outlasting(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after `seconds` at the most. One that has ended counts as gone, though nobody buries it."""
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
    """Those of the listed that still run, and not others that got their numbers."""
    for pid, created in listed:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.create_time() == created and _runs(process):
                yield process
