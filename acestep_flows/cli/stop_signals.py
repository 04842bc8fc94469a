"""SIGTERM, which schedulers and service managers send, ends a command as ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from acestep_flows.cli.terminal import INTERRUPTED, TERMINATED


@dataclass
class StopSignal:
    """The signal that ended a command, by its exit code: that of ctrl-C unless it was SIGTERM."""

    exit_code: int = INTERRUPTED


@contextmanager
def sigterm_as_interrupt(stop: StopSignal) -> Iterator[None]:
    """Raise KeyboardInterrupt in the body for the first SIGTERM, and ignore further ones while it ends.

    Args:
        stop: told which signal it was.
    """

    def handle(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.exit_code = TERMINATED
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    except SystemExit as end:
        if end.code != signal.SIGTERM:
            raise
        stop.exit_code = TERMINATED  # Ray's answer to the signal while it starts
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGTERM, before)
