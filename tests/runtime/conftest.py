"""One Ray for the whole session: starting one takes seconds."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Ray and Serve on this machine, quiet and apart; the cores are only counted. Gives the address of its HTTP."""
    pytest.importorskip("ray")
    from acestep_flows.runtime.serving.launch import Http, local_ray

    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = Http(port=taken.getsockname()[1])
    with local_ray(8, store=2**28, http=http):
        yield f"http://{http.host}:{http.port}"
