"""One server for all of these tests, because a start takes 15 seconds. It ends before other tests start Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from acestep_flows.client import Client
from acestep_flows.runtime.serving.pool import shipped
from tests.served.server import WEIGHTS, Server


@pytest.fixture(scope="package")
def cache(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the server and of the commands."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / WEIGHTS).symlink_to(small_root)
    return folder


def with_one_thread() -> str:
    """The pool `local` with one thread: with such small weights a second thread only waits."""
    content = yaml.safe_load((shipped() / "local.yaml").read_text())
    content["processes"]["all"]["threads"] = 1
    return str(yaml.safe_dump(content))


@pytest.fixture(scope="package")
def the_server(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for module in ("ray", "fastapi", "uvicorn", "sqlalchemy"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("served")
    (folder / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    (folder / "pool.yaml").write_text(with_one_thread())
    server = Server(folder, cache, options=("--pool", "pool.yaml"))
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop()


@pytest.fixture
def server(the_server: Server) -> Server:
    """The running server."""
    assert the_server.process is not None
    if the_server.process.poll() is not None:
        the_server.start()
    return the_server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client
