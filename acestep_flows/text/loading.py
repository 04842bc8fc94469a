"""Loading of language libraries: on first use and only once, also with several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, wraps
from typing import TypeVar

T = TypeVar("T")


def load_once(load: Callable[[], T]) -> Callable[[], T]:
    """Make `load` run only once. Calls meanwhile wait; all calls return the same object."""
    lock = threading.Lock()
    loaded = cache(load)

    @wraps(load)
    def get() -> T:
        with lock:
            return loaded()

    return get
