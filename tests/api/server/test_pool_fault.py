"""A server whose pool has ended ends too, whatever still waits for it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, time
from acestep_flows.api.server import pool_fault

class Ray:
    begun = time.monotonic()
    def fault(self):
        return "Ray's raylet has ended" if time.monotonic() - self.begun > 0.2 else ""
    def kill(self):
        print("killed", flush=True)

pool_fault.LOOK_SECONDS = 0.05
with pool_fault.ends_with_pool(Ray(), lambda line: print(line, flush=True), patience=float(sys.argv[1])):
    time.sleep(float(sys.argv[2]))
print("left in order")
"""
FAULT = "Ray's raylet has ended"
LINE = f"error: {FAULT}, so no run can be computed; start the server again with the same home: its runs go on"


def ending(patience: float, body: float) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", SCRIPT, str(patience), str(body)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_a_body_that_hangs_is_ended_with_one_line() -> None:
    assert ending(patience=0.1, body=60) == (1, [LINE, "killed"])


def test_a_body_that_ends_in_time_is_left_alone() -> None:
    assert ending(patience=30, body=1) == (0, ["left in order"])


def test_so_is_one_whose_pool_works() -> None:
    assert ending(patience=0, body=0) == (0, ["left in order"])


def test_the_end_of_the_interpreter_may_hang_too() -> None:
    script = """
import atexit, time
from acestep_flows.api.server.pool_fault import exit_anyway
atexit.register(time.sleep, 60)
exit_anyway(0.5)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=50, check=False).returncode == 1
