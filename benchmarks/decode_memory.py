"""Peak memory of songs of 60, 120 and 240 seconds: what decoding adds, and that of a whole process.

    python -m benchmarks.decode_memory [--checkpoint embedded] [--out results.json]

Decoding is done in overlapping windows and in one piece, each song in a process of its own, whose memory before
decoding is subtracted. The whole process is `acestep-flows run text2music` on `--checkpoint`, with its files written.
Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.machine import report

SECONDS = (60, 120, 240)


def peak(folder: str, seconds: int, overlap: bool) -> float:
    """Megabytes that decoding adds to the peak memory of the process."""
    from acestep_flows.model.autoencoder import Autoencoder
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement
    from acestep_flows.model.vocoder import load_vocoder
    from acestep_flows.values import frames_from_seconds

    checkpoint = Checkpoint.open(folder)
    autoencoder = Autoencoder.load(checkpoint, Placement(), ["decoder"])
    vocoder = load_vocoder(checkpoint, Placement())
    latents = np.random.default_rng(0).standard_normal((8, 16, frames_from_seconds(seconds))).astype(np.float32)
    vocoder.decode(autoencoder.decode(latents[..., :16]))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _peak_kilobytes()
    vocoder.decode(autoencoder.decode(latents, overlap=overlap), overlap=overlap)
    return (_peak_kilobytes() - before) / 1024


def peak_of_a_run(checkpoint: str, seconds: int) -> float:
    """Megabytes at the peak of a process that makes a song in a few steps, caches it and writes its files."""
    command = [sys.executable, "-m", "acestep_flows.cli", "run", "text2music", "--checkpoint", checkpoint]
    inputs = ["tags=lo-fi, piano", f"duration={seconds}", "steps=2", "seed=7"]
    command += [part for value in inputs for part in ("--set", value)]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"ACESTEP_FLOWS_CACHE": f"{folder}/cache"}
        process = subprocess.Popen([*command, "--out", f"{folder}/out"], env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the run of {seconds} s failed")
    return usage.ru_maxrss / 1024


def _peak_kilobytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    from acestep_flows.testing.random_checkpoint import MIDDLE, write_random_checkpoint

    parser = argparse.ArgumentParser(description="Peak memory of decoding songs of several lengths.")
    parser.add_argument("--checkpoint", default="embedded", help="of the whole process")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        write_random_checkpoint(Path(folder), MIDDLE, seed=0)
        megabytes = {
            name: {seconds: pool.apply(peak, (folder, seconds, overlap)) for seconds in SECONDS}
            for name, overlap in (("overlapped", True), ("one piece", False))
        }
        # A process takes over the peak of the one that starts it, so that it is started by a small one.
        runs = {seconds: pool.apply(peak_of_a_run, (arguments.checkpoint, seconds)) for seconds in SECONDS}
    megabytes["process"] = runs
    report({"peak_megabytes": megabytes}, arguments.out)


if __name__ == "__main__":
    main()
