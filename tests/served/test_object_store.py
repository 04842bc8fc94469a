"""A server whose artifacts are in an S3-compatible store: keys of an option reach its processes, and no log."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fault_services import ObjectStore
from tests.served.server import serving

pytestmark = [pytest.mark.slow]

NAME, SECRET = "marked-key", "marked-secret-0123"


def test_the_processes_of_a_server_write_to_the_store_of_its_option(
    object_store: ObjectStore, cache: Path, tmp_path: Path
) -> None:
    url = object_store.url("served").replace("s3://", f"s3://{NAME}:{SECRET}@")
    signed_by = set[int]()

    def meets(pid: int, chunk: bytes) -> bytes:
        if f"Credential={NAME}/".encode() in chunk:
            signed_by.add(pid)
        return b""

    object_store.meets = meets
    with serving(tmp_path, cache, ("--artifacts", url)) as server:
        assert server.process is not None
        object_store.carried.clear()
        with server.client() as client:
            run = client.wait(server.song(client, seconds=6).id, timeout=120)
            assert run.state == "succeeded"
            carried = dict(object_store.carried)
            size = client.fetch_output(run, "audio", tmp_path / "song.flac").stat().st_size
        hosts = sum(size for pid, size in carried.items() if pid != server.process.pid)
        assert hosts > size > carried.get(server.process.pid, 0)
        assert server.replica() in signed_by, "with the keys of the URL"
        assert server.stop() == 0
    logs = [path.read_text(errors="replace") for path in (tmp_path / "server").rglob("*.log")]
    assert logs
    for text in (server.log, *logs):
        assert SECRET not in text
        assert NAME not in text
