"""`python -m acestep_flows.cli.nano` with few steps: an interrupted pipeline gives the same checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from acestep_flows.cli.nano import main
from acestep_flows.model.checkpoint import Checkpoint

CLIPS = ["source.clips=4", "source.held_out=1", "source.workers=0", "source.seconds=3", "loop.steps=2", "loop.warmup=0"]
SONGS = ["loop.steps=2", "loop.warmup=0", "data.rows=2", "data.held_out=2", "preview.songs=0", "preview.measured=0"]
ENCODED = ["source.count=8", "source.seconds={3.0: 1.0}", "source.vocals=1.0"]
CHANGES = {
    "autoencoder": [*CLIPS, "crops=[32]", "frames_per_batch=64"],
    "decoder": [*CLIPS, "frames=16", "batch=2"],
    **dict.fromkeys(("encode", "encode-pairs"), ENCODED),
    "diffusion": [*SONGS, "preview.pairs=0"],
    **dict.fromkeys(("lyric2vocal", "stemgen", "singing2accompaniment"), SONGS),
}

STEPS = {"autoencoder": 12, "diffusion": 12}
"""Steps of the trainings that are stopped: enough that some are left."""
PATIENCE = 900.0
"""Seconds after which a command that has not reached its stopping point counts as failed."""


START = [sys.executable, "-m", "acestep_flows.cli.nano"]


def command(out: Path) -> list[str]:
    changes = [
        f"{step}.{change}"
        for step, all_changes in CHANGES.items()
        for change in [*all_changes, "loop.precision=float32", "loop.save_every=4", f"loop.steps={STEPS.get(step, 2)}"]
        if not (step.startswith("encode") and change.startswith("loop."))
    ]
    changes += ["encode.dtype=float32", "encode-pairs.dtype=float32"]
    arguments = [argument for change in changes for argument in ("--set", change)]
    return [*START, "--out", str(out), "--device", "cpu", *arguments]


def run(out: Path, until: str | None = None, how: signal.Signals | None = None) -> tuple[int, str]:
    """Run the command, send it a signal once a file `until` exists, and return its exit code and its output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command(out), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        if until and how:
            deadline = time.monotonic() + PATIENCE
            while not list(out.glob(until)) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(how)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stdout + stderr


def run_here(out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run the command in this process, as another one does: with one thread."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # the command sets it
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        done = CliRunner().invoke(main, command(out)[len(START) :])
    finally:
        torch.set_num_threads(threads)
    return done.exit_code, done.output


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries, as in the processes
def test_an_interrupted_pipeline_gives_the_same_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tmp_path / "parts"
    code, output = run(parts, "autoencoder/states/*.pt", signal.SIGINT)
    assert code == 130, output
    assert "autoencoder stopped after step" in output
    assert "the same command goes on" in output
    assert "Traceback" not in output
    code, output = run(parts, "diffusion/states/*.pt", signal.SIGKILL)
    assert code == -signal.SIGKILL
    whole = tmp_path / "whole"
    for first, (code, output) in (("diffusion", run(parts)), ("autoencoder", run_here(whole, monkeypatch))):
        assert code == 0, output
        started = [line for line in output.splitlines() if line in CHANGES]
        assert started[0] == first, "finished steps are not repeated"
    files = {file.relative_to(parts / "nano") for file in (parts / "nano").rglob("*") if file.is_file()}
    assert len(files) > 10
    for file in files:
        assert (parts / "nano" / file).read_bytes() == (whole / "nano" / file).read_bytes(), file

    nano, start = Checkpoint.open(parts / "nano"), Checkpoint.open(parts / "start")
    for part in ("ace_step_transformer", "music_dcae_f8c8", "music_vocoder", "umt5-base"):
        assert nano.digest(part) != start.digest(part), f"{part} was not trained"
    assert nano.extras.names("adapters") == ["lyric2vocal"]
    assert nano.extras.names("controls") == ["beat", "singing2accompaniment", "stemgen"]
