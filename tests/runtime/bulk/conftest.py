"""A Ray without Serve for a module's tests; the cores are only counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def bare_ray() -> Iterator[None]:
    """Ray, quiet and apart. Its processes step back for nobody, so that tests end on a busy machine too."""
    pytest.importorskip("ray.data")
    from acestep_flows.runtime.bulk.cluster import cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        with cluster(6, store=2**28):
            yield
