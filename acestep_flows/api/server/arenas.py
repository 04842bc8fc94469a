"""How many arenas the threads of a server allocate memory from."""

from __future__ import annotations

import ctypes
import sys

from acestep_flows.settings import is_set

M_ARENA_MAX = -8  # malloc.h
ARENAS = 2


def share_arenas() -> bool:
    """Let all threads of the process allocate from the same few arenas.

    By default glibc makes up to eight arenas for each core, as threads come. Memory that a thread of one arena freed is
    of no use to threads of others. So a server whose threads come and go grows for hours, although it uses no more.
    Threads that run Python seldom allocate at the same time, so they hardly wait for each other here. Call it before
    the process starts threads. MALLOC_ARENA_MAX in the environment goes first.

    Returns:
        Whether the C library accepted the setting. Only glibc has it.
    """
    if is_set("MALLOC_ARENA_MAX") or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, ARENAS))
