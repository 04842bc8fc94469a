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
