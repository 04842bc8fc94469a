"""Imports of large libraries."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_on = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for garbage only afterwards.

    torch, transformers and diffusers make 400,000 objects that all stay. To look through them again with every few
    hundred new ones takes a fifth of the seconds of the import. Contexts may lie in each other and in several threads:
    the last one out puts things back.
    """
    global _inside, _was_on  # noqa: PLW0603  (so is what they guard: the process has one collector)
    with _lock:
        if _inside == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _was_on:
                gc.enable()
