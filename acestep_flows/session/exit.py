"""Sessions that are still open when the interpreter exits.

At exit Python first waits for the threads of `concurrent.futures`, in which stages run. Then it calls `atexit`
functions. So a run ends in two steps: its next event stops the stage (`is_exiting`), and then its session is closed.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol


class Closable(Protocol):
    """A session, as far as it is needed here."""

    def close(self) -> None:
        """Stop its runs and end its threads."""
        ...


_sessions: weakref.WeakSet[Closable] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_sessions.clear)  # a forked child does not have their threads


def close_at_exit(session: Closable) -> None:
    """Close `session` when the interpreter exits, if it still exists. Closing it twice is harmless."""
    _sessions.add(session)


def is_exiting() -> bool:
    """Whether the interpreter waits for threads, to exit. No more calls start in those of `concurrent.futures` then.

    The main thread counts as alive until the threads of `concurrent.futures` have ended, so it does not say so. Nothing
    public does.
    """
    return bool(vars(threading).get("_SHUTTING_DOWN")) or not threading.main_thread().is_alive()


@atexit.register
def _close_sessions() -> None:
    for session in list(_sessions):
        session.close()
