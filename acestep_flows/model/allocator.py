"""Process-wide memory policy for inference on the CPU."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
GENEROUS = 1 << 30


def keep_freed_memory() -> bool:
    """Let the process keep memory it has freed, up to a gigabyte, for its next allocation.

    By default glibc gives every freed block of some megabytes back to the system and asks for it again a moment
    later; each forward pass then pays for tens of thousands of page faults, 5 to 10 % of its time. The peak stays the
    same; between songs the process holds on to more. Call it once, in a process that renders.

    Returns:
        Whether the C library took it; others than glibc do not have the setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, GENEROUS) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
