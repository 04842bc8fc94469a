from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from acestep_flows.model.allocator import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(77)
def work() -> None:
    for _ in range(10):
        torch.ones(10 << 20) * 2


work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(policy: str) -> int:
    process = subprocess.run([sys.executable, "-c", COUNT_FAULTS, policy], capture_output=True, text=True, check=False)
    if process.returncode == 77:
        pytest.skip("the C library has no such setting")
    assert process.returncode == 0, process.stderr
    return int(process.stdout)


def test_freed_memory_is_used_again_without_page_faults() -> None:
    assert page_faults("keep") < page_faults("default") / 10


HELD_AFTER = """
import sys, threading
import torch
from acestep_flows.model.allocator import keep_freed_memory, return_freed_memory


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def work() -> None:
    parts = [torch.ones(1 << 20) for _ in range(64)]  # 256 MB
    del parts


if not keep_freed_memory():
    sys.exit(77)
thread = threading.Thread(target=work)  # stages work in threads, whose memory is their own
before = resident()
thread.start()
thread.join()
kept = resident() - before
returned = return_freed_memory()
print(kept >> 20, (resident() - before) >> 20, returned)
"""


def test_freed_memory_of_all_threads_is_returned() -> None:
    process = subprocess.run([sys.executable, "-c", HELD_AFTER], capture_output=True, text=True, check=False)
    if process.returncode == 77:
        pytest.skip("the C library has no such setting")
    assert process.returncode == 0, process.stderr
    kept, left, returned = process.stdout.split()
    assert int(kept) > 200
    assert int(left) < 50
    assert returned == "True"
