"""SIGTERM and SIGINT over the whole life of a server."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def start_ends_on_signal() -> Iterator[None]:
    """Both signals raise KeyboardInterrupt while a server starts. Where not in the main thread, nothing changes.

    While it serves, the event loop handles them (`HttpProcess`). After that, and while it stops, they are ignored: Ray
    has to be ended whole.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupt_on_signal()
    try:
        yield
    except SystemExit:  # from Ray's own handler of SIGTERM, while it starts
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_signal() -> None:
    """Have both signals raise KeyboardInterrupt. Ray sets its own handler when it starts, so this is called again."""
    _set(signal.default_int_handler)


def ignore_signals() -> None:
    """Have both signals change nothing."""
    _set(signal.SIG_IGN)


def _set(handler: object) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, handler)  # type: ignore[arg-type]
