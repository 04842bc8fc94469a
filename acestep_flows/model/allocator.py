"""Settings of the C library's allocator: for processes that render on the CPU, and for those that answer requests."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
KEPT_BYTES = 1 << 30
ARENAS = 2


def keep_freed_memory() -> bool:
    """Let the process keep up to a gigabyte of freed memory for its next allocations.

    By default glibc returns every freed block of some megabytes to the system and requests it again a moment later.
    Each forward pass then pays for tens of thousands of page faults, 5 to 10 % of its time. With this setting the
    peak stays the same, but the process holds more memory between songs. Call it once in a process that renders.

    Returns:
        Whether the C library accepted the setting. Only glibc has it.
    """
    return _set({M_TRIM_THRESHOLD: KEPT_BYTES, M_MMAP_THRESHOLD: KEPT_BYTES})


def share_arenas() -> bool:
    """Let all threads of the process allocate from the same few arenas.

    By default glibc makes up to eight arenas for each core, as threads come. Memory that a thread of one arena freed is
    of no use to threads of others. So a server whose threads come and go grows for hours, although it uses no more.
    Threads that run Python seldom allocate at the same time, so they hardly wait for each other here. Call it before
    the process starts threads. MALLOC_ARENA_MAX in the environment goes first.

    Returns:
        Whether the C library accepted the setting. Only glibc has it.
    """
    return "MALLOC_ARENA_MAX" not in os.environ and _set({M_ARENA_MAX: ARENAS})


def _set(options: dict[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in options.items())
