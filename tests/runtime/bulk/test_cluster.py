"""What a local Ray of a job writes to the terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("ray")

SCRIPT = """
import os, sys
from acestep_flows.runtime.bulk.cluster import without_log_level_line
with without_log_level_line():
    os.write(2, b"[2026-11-30 I 1 1] logging.cc:303: Set ray log level from RAY_BACKEND_LOG_LEVEL\\n")
    os.write(2, b"[2026-11-30 E 1 1] something is wrong\\n")
    print("from Python", file=sys.stderr)
print("after", file=sys.stderr)
"""


def test_only_the_line_on_the_log_level_is_kept_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["from Python", "[2026-11-30 E 1 1] something is wrong", "after"]


def test_what_a_failing_start_wrote_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    from acestep_flows.runtime.bulk.cluster import without_log_level_line

    @without_log_level_line()
    def fail() -> None:
        os.write(2, b"the reason\n")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert capfd.readouterr().err == "the reason\n"
