"""Processes and folders that a local Ray leaves when its owner is killed, and how the next one removes them.

Each Ray has a private folder with a list of its processes. Most of them notice that the owner is gone; some take
minutes, and hold ports meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from acestep_flows import storage
from acestep_flows.runtime.serving import private_folder
from acestep_flows.runtime.serving.private_folder import PrivateFolder

STOP_SECONDS = 5.0

_LIST = "processes.json"
_LARGEST_LIST = 1 << 20


def note(folder: PrivateFolder, started: Iterable[psutil.Process]) -> None:
    """Write down which processes belong to a folder."""
    processes = []
    for process in started:
        with contextlib.suppress(psutil.Error, OSError):
            processes.append([process.pid, _birth(process)])
    storage.write(folder.root / _LIST, json.dumps({"system": _system(), "processes": processes}).encode(), 0o600)


def clear() -> None:
    """End processes and remove folders whose owner is gone."""
    for folder in private_folder.abandoned():
        end(list(_listed(folder)), gently=False)  # their owner is dead: nothing is left to save
        folder.remove()


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


def runs(process: psutil.Process) -> bool:
    """Whether a process runs. A zombie has ended, and so has one whose id was given to another."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _outlasting(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after at most `seconds`."""
    until = time.monotonic() + seconds
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _listed(folder: PrivateFolder) -> Iterator[psutil.Process]:
    """The processes of a folder that still run, without others that have got their ids since."""
    for pid, birth in _read(folder.root / _LIST):
        with contextlib.suppress(psutil.Error, OSError, ValueError, TypeError, OverflowError):
            process = psutil.Process(pid)
            if _birth(process) == birth and runs(process):
                yield process


def _read(path: Path) -> list[Any]:
    """The pairs in a list; none of a list that is damaged, or from another system or container."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            if not private_folder.is_private(os.fstat(file.fileno())):
                return []
            content = json.loads(file.read(_LARGEST_LIST))
        if content["system"] != _system():
            return []
        return [(int(pid), birth) for pid, birth in content["processes"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _birth(process: psutil.Process) -> float:
    """When a process began, by a clock that nobody sets where there is one (Linux: ticks since the system's start)."""
    if sys.platform != "linux":
        return float(process.create_time())
    content = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
    return float(content.rpartition(")")[2].split()[19])


@cache
def _system() -> str:
    """What process ids and their births are counted in: one start of the system, and one container."""
    if sys.platform != "linux":
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "unknown"
