"""Threads of a server allocate from few arenas."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from acestep_flows.api.server.arenas import ARENAS

COUNT_ARENAS = """
import ctypes, re, sys, threading
from acestep_flows.api.server.arenas import share_arenas

if sys.argv[1] == "share" and not share_arenas():
    sys.exit(77)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.open_memstream.restype = ctypes.c_void_p
together = threading.Barrier(60)


def allocate() -> None:
    together.wait()
    libc.malloc(ctypes.c_size_t(10_000))
    together.wait()


threads = [threading.Thread(target=allocate) for _ in range(60)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
text, size = ctypes.c_char_p(), ctypes.c_size_t()
stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
libc.malloc_info(0, stream)
libc.fflush(stream)
print(len(re.findall(rb"<heap nr", text.value)))
"""


def counted(program: str, policy: str, **environment: str) -> int:
    """The number that a program prints in a process of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | environment
    process = subprocess.run(
        [sys.executable, "-c", program, policy], capture_output=True, text=True, check=False, env=env
    )
    if process.returncode == 77:
        pytest.skip("the C library has no such setting")
    assert process.returncode == 0, process.stderr
    return int(process.stdout)


def test_threads_share_arenas() -> None:
    assert counted(COUNT_ARENAS, "share") <= ARENAS < counted(COUNT_ARENAS, "default")


def test_the_environment_goes_before_the_shared_arenas() -> None:
    program = "import sys; from acestep_flows.api.server.arenas import share_arenas; print(int(share_arenas()))"
    assert counted(program, "", MALLOC_ARENA_MAX="8") == 0
