"""What becomes of a job when its Ray dies; with a real Ray in tests/bulk/test_stopped_jobs.py."""

from __future__ import annotations

import subprocess
import sys
import time

from acestep_flows.runtime.bulk.ray_watch import while_ray_lives

JOB = """
import os, signal, sys, threading, time
from acestep_flows.errors import FlowsError
from acestep_flows.runtime.bulk import ray_watch

ray_watch.PATIENCE_SECONDS, ray_watch.END_SECONDS = 0.2, float(sys.argv[2])

class Dying:
    since, killed = time.monotonic(), False
    def fault(self):
        return "Ray's raylet has ended" if time.monotonic() > self.since + 0.5 else ""
    def processes(self):
        return set()
    def kill(self):
        self.killed = True

def items():
    yield 1
    if sys.argv[1] == "waits":
        time.sleep(600)
    if sys.argv[1] == "is stopped":
        while not own.fault():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
    if sys.argv[1] == "is stopped and ends slowly":
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(600)
        finally:
            time.sleep(600)
    if sys.argv[1] == "is stopped in a lock":
        lock = threading.Lock()
        with lock:
            lock.release()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(600)
    if sys.argv[1] == "raises":
        time.sleep(1)
        raise SystemExit(3)
    while True:  # as C++ code that hears no signal
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass

own = Dying()
try:
    for item in ray_watch.while_ray_lives(items(), own):
        print("item", item)
except FlowsError as error:
    print(error, own.killed)
except KeyboardInterrupt:
    print("stopped")
"""
LINE = "Ray's raylet has ended, so no row can be rendered; the same command goes on with the rows that are left"


def job(way: str, end: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", JOB, way, str(end)], capture_output=True, text=True, timeout=120, check=False
    )


def test_what_waits_for_a_dead_ray_is_interrupted_and_what_it_raises_is_told_in_one_line() -> None:
    for way in ("waits", "raises"):
        ended = job(way, 60)
        assert (ended.returncode, ended.stdout) == (0, f"item 1\n{LINE} True\n")


def test_a_stop_by_the_user_is_none_by_a_dead_ray() -> None:
    """SIGTERM to all processes of a job ends Ray's as well, which may be the first to hear of it."""
    for way in ("is stopped", "is stopped and ends slowly", "is stopped in a lock"):
        ended = job(way, 60)
        assert (ended.returncode, ended.stdout) == (0, "item 1\nstopped\n")


def test_what_cannot_be_interrupted_is_ended() -> None:
    begun = time.monotonic()
    ended = job("hears nothing", 1)
    assert (ended.returncode, ended.stderr) == (1, f"error: {LINE}\n")
    assert time.monotonic() - begun < 60


def test_a_ray_of_others_is_not_watched() -> None:
    assert list(while_ray_lives(iter([1, 2]), None)) == [1, 2]
