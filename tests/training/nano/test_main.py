"""`python -m acestep_flows.training.nano`, stopped in every way there is, makes what it makes undisturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.nano.test_pipeline import CHANGES

STEPS = {"autoencoder": 12, "diffusion": 12}
"""Of the trainings that are stopped: enough that there is something left."""
PATIENCE = 900.0
"""Seconds until a command that does not come to where it is to be stopped has failed."""


def command(out: Path) -> list[str]:
    changes = [
        f"{step}.{change}"
        for step, all_changes in CHANGES.items()
        for change in [*all_changes, "loop.precision=float32", "loop.save_every=4", f"loop.steps={STEPS.get(step, 2)}"]
        if not (step.startswith("encode") and change.startswith("loop."))
    ]
    changes += ["encode.dtype=float32", "encode-pairs.dtype=float32", "encode.source.count=24"]
    arguments = [argument for change in changes for argument in ("--set", change)]
    return [sys.executable, "-m", "acestep_flows.training.nano", "--out", str(out), "--device", "cpu", *arguments]


def run(out: Path, until: str | None = None, how: signal.Signals | None = None) -> tuple[int, str]:
    """Run the command, and send it a signal once there is a file `until`; gives its exit code and what it said."""
    given = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command(out), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=given
    ) as process:
        if until and how:
            deadline = time.monotonic() + PATIENCE
            while not list(out.glob(until)) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(how)
        said, told = process.communicate(timeout=PATIENCE)
    return process.returncode, said + told


@pytest.mark.slow
def test_stopped_in_every_way_it_makes_the_same(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    code, told = run(parts, "autoencoder/states/*.pt", signal.SIGINT)
    assert code == 130, told
    assert "autoencoder stopped after step" in told
    assert "the same command goes on" in told
    code, told = run(parts, "encoded/encoded.json", signal.SIGINT)
    assert code == 130, told
    assert "songs; the same command goes on" in told
    assert "Traceback" not in told
    code, told = run(parts, "diffusion/states/*.pt", signal.SIGKILL)
    assert code == -signal.SIGKILL
    for out in (parts, tmp_path / "whole"):
        code, told = run(out)
        assert code == 0, told
    made = {file.relative_to(parts / "nano") for file in (parts / "nano").rglob("*") if file.is_file()}
    assert len(made) > 10
    for file in made:
        assert (parts / "nano" / file).read_bytes() == (tmp_path / "whole" / "nano" / file).read_bytes(), file
