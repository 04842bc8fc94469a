"""One server for all of these tests, because a start takes 15 seconds. It ends before other tests start Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep_flows.client import Client
from tests.served.server import Server, cache_with, running, serving


@pytest.fixture(scope="package")
def cache(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the server and of the commands."""
    return cache_with(small_root, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="package")
def the_server(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    with serving(folder, cache) as server:
        yield server


@pytest.fixture
def server(the_server: Server) -> Server:
    """The running server."""
    return running(the_server)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client
