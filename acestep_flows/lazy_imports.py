"""Faster imports of large libraries, and a faster end of processes that imported them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_open_contexts = 0
_was_enabled = False


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause Python's garbage collector during an import.

    torch, transformers and diffusers create 400,000 objects that all stay. Scanning them again after every few hundred
    new ones takes a fifth of the time of the import. Contexts may be nested and may be open in several threads: the
    last one to end restores the collector.
    """
    global _open_contexts, _was_enabled  # noqa: PLW0603  (the collector is global to the process, too)
    with _lock:
        if _open_contexts == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _open_contexts += 1
    try:
        yield
    finally:
        with _lock:
            _open_contexts -= 1
            if _open_contexts == 0 and _was_enabled:
                gc.enable()


def leave_objects_at_exit() -> None:
    """Have the end of this process collect nothing that lives now. Call it last.

    With torch and Ray imported, the collection takes one to two seconds, and the memory goes back to the system anyway.
    """
    gc.freeze()
