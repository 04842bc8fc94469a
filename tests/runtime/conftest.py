"""One Ray for the whole session: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray and Serve on this machine, quiet and apart; the cores are only counted."""
    pytest.importorskip("ray")
    from acestep_flows.runtime.serving.launch import local_ray

    with local_ray(8, store=2**28):
        yield
