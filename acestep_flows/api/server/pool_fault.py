"""The end of a server whose pool has ended under it: in one line, with nothing left behind, and in any case."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.pool_ray import PoolRay

LOOK_SECONDS = 1.0

END_SECONDS = 25.0
"""How long a server may take to end in order. Ray's library ends this process a minute after its control store died,
without a word and with processes left."""


SIGNAL_SECONDS = 1.0
"""How long after the end of Ray a signal may come that explains it."""

START_END_SECONDS = 5.0
"""How long a start may take to end in order once its pool has ended. A signal to all of a server's processes, as
service managers send it, may end Ray before this process has heard of it."""


def no_use(fault: str) -> str:
    """The line for people on a pool that has ended."""
    return f"{fault}, so no run can be computed; start the server again with the same home: its runs go on"


@contextlib.contextmanager
def ends_with_pool(own: PoolRay | None, tell: Callable[[str], None], patience: float) -> Iterator[None]:
    """End this process if the pool has ended and the body of the `with` is still not left after `patience` seconds.

    Whatever waits for a Ray that has ended may wait for ever, and so may the end of the interpreter.

    Args:
        own: the Ray that the pool is on; None: nothing is watched.
        tell: takes the last line.
    """
    if own is None:
        yield
        return
    left = threading.Event()

    def look() -> None:
        while not left.wait(LOOK_SECONDS):
            if fault := own.fault():
                if not left.wait(patience):
                    tell(f"error: {no_use(fault)}")
                    own.kill()
                    os._exit(1)
                return

    threading.Thread(target=look, name="pool fault", daemon=True).start()
    try:
        yield
    finally:
        left.set()


def exit_anyway(seconds: float = END_SECONDS) -> None:
    """End this process after some seconds, if it does not end by itself."""

    def end() -> None:
        threading.Event().wait(seconds)
        os._exit(1)

    threading.Thread(target=end, name="end", daemon=True).start()
