"""Something that is done again and again beside other work, such as saying that it still goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ticking(seconds: float, tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` every so many seconds, in a thread of its own, until the block ends."""
    ended = threading.Event()

    def tick_until_ended() -> None:
        while not ended.wait(seconds):
            tick()

    thread = threading.Thread(target=tick_until_ended, name="ticker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
