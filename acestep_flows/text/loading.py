"""Language libraries load on first use, once, whichever thread comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, wraps
from typing import TypeVar

T = TypeVar("T")


def once(load: Callable[[], T]) -> Callable[[], T]:
    """Make `load` run one time in all; later calls, and calls that had to wait, get the same object."""
    lock = threading.Lock()
    loaded = cache(load)

    @wraps(load)
    def get() -> T:
        with lock:
            return loaded()

    return get
