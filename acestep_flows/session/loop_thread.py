"""An event loop on a thread of its own, so that a session works inside a running loop and from any thread."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from acestep_flows.errors import InputError

T = TypeVar("T")


class LoopThread:
    """Runs coroutines. The thread starts with the first one; it ends with `close`, or with this object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin `work`; its result or error is in the future."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="session", daemon=True)
                self._thread.start()
                # At exit the sessions are closed first: see `session/exit.py`.
                weakref.finalize(self, _stop, self._loop).atexit = False
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def refuse_own_thread(self) -> None:
        """Refuse to wait on this very thread, which would wait for itself.

        Raises:
            InputError: the caller is on this thread, as progress callbacks are.
        """
        if threading.current_thread() is self._thread:
            raise InputError(
                "a progress callback must not call run(), plan(), wait() or close(); only cancel() is allowed"
            )

    def close(self) -> None:
        """End the thread."""
        if self._loop is not None and self._thread is not None:
            _stop(self._loop)
            self._thread.join()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
