"""SIGTERM and SIGINT over the whole life of a server."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Handler: TypeAlias = Callable[[int, Any], Any] | signal.Handlers


class Terminated(KeyboardInterrupt):
    """SIGTERM came while the server started."""


@contextmanager
def start_ends_on_signal() -> Iterator[None]:
    """While a server starts, SIGINT raises KeyboardInterrupt, and SIGTERM raises Terminated, which is one.

    Where not in the main thread, nothing changes.

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
        raise Terminated from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_signal() -> None:
    """Have both signals raise their exceptions. Ray sets its own handler when it starts, so this is called again."""
    _set({signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate})


def ignore_signals() -> None:
    """Have both signals change nothing."""
    _set(dict.fromkeys(SIGNALS, signal.SIG_IGN))


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _set(handlers: Mapping[signal.Signals, Handler]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
