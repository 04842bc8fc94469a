"""`serve --rehearse`: the shipped pool of eight GPUs on a machine without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.runtime.serving.pool import Pool
from tests.served.server import Server

pytestmark = [pytest.mark.slow]


def test_the_pool_of_eight_gpus_makes_songs_without_one(cache: Path, tmp_path: Path) -> None:
    for module in ("ray", "fastapi", "uvicorn", "sqlalchemy"):
        pytest.importorskip(module)
    server = Server(tmp_path, cache, options=("--pool", "gpu-pool", "--rehearse"), env={"CUDA_VISIBLE_DEVICES": ""})
    server.start()
    try:
        assert "a rehearsal: networks compute on the processor, and Ray counts 8 GPUs that are not there" in server.log
        with server.client() as client:
            runs = [server.song(client, seed=seed).id for seed in range(4)]
            assert {client.wait(run, timeout=240).state for run in runs} == {"succeeded"}
            serving = client.stats()["serving"]
        pool = Pool.read("gpu-pool")
        assert {name: len(replicas) for name, replicas in serving.items()} == {
            name: process.least for name, process in pool.processes.items()
        }
    finally:
        status = server.stop()
    assert status == 0


def test_processes_start_when_the_first_song_is_wanted(cache: Path, tmp_path: Path) -> None:
    """The pool that scales from no GPU is ready without one, and a song waits for the start of its process."""
    for module in ("ray", "fastapi", "uvicorn", "sqlalchemy"):
        pytest.importorskip(module)
    server = Server(tmp_path, cache, options=("--pool", "gpu-scaling", "--rehearse"))
    server.start()
    try:
        with server.client() as client:
            serving = client.stats()["serving"]
            assert (len(serving["networks"]), len(serving["audio"])) == (0, 2)
            assert client.wait(server.song(client).id, timeout=240).state == "succeeded"
            assert len(client.stats()["serving"]["networks"]) == 1
    finally:
        status = server.stop()
    assert status == 0
