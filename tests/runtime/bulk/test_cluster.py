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


def test_ray_prints_nothing_of_its_tasks_while_a_job_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    from ray._private.worker import print_to_stdstream

    from acestep_flows.runtime.bulk.cluster import _silent_driver

    def tell(words: str) -> None:  # words of their own: lines that repeat are held back
        print_to_stdstream({"lines": [words], "pid": "raylet", "is_err": False}, ignore_prefix=False)

    with _silent_driver():
        tell("a task has failed and is retried")
    assert capsys.readouterr().out == ""
    tell("another cause altogether")
    assert "another cause altogether" in capsys.readouterr().out


AFTER = """
import signal
from acestep_flows.runtime.bulk.cluster import cluster
signal.signal(signal.SIGTERM, mine := lambda number, frame: None)
with cluster(1, store=80_000_000):
    import ray
    assert signal.getsignal(signal.SIGTERM) is mine
    one = ray.put(1)
try:
    ray.get(one)
except Exception as error:
    print(type(error).__name__)
print(ray.is_initialized())
"""


def test_a_call_after_the_end_joins_no_cluster_and_signals_stay_ours() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kind, connected = done.stdout.split()
    assert (kind != "", connected) == (True, "False")
