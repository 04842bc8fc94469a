"""Wait for a state rather than for a time, and ask whether a process is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil

LOOK_SECONDS = 0.05


def eventually(true: Callable[[], Any], seconds: float = 30.0) -> None:
    """Return when `true` is; after `seconds` the test fails."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(LOOK_SECONDS)


def alive(process: psutil.Process) -> bool:
    """Whether a process runs. A zombie has ended."""
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
