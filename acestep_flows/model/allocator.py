"""The allocator of a process that runs inference on the CPU: what it keeps of freed memory."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Let the process keep up to a gigabyte of freed memory for its next allocations.

    By default glibc returns every freed block of some megabytes to the system and requests it again a moment later.
    Each forward pass then pays for tens of thousands of page faults, 5 to 10 % of its time. With this setting the
    process holds more memory between songs. It also holds what one network freed while the next one works, as far as
    that cannot use it: in pieces that are too small, or of another thread (see `return_freed_memory`). Call it once in
    a process that renders.

    Returns:
        Whether the C library accepted the setting. Only glibc has it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, KEPT_BYTES) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


def return_freed_memory() -> bool:
    """Return all freed memory of the process to the system, that of every thread.

    For between the networks of a song, and between large pieces of one's work: what comes next pays for its page
    faults once.

    Returns:
        Whether there was any. Only glibc can do this.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))
