"""How several pytest processes share the suite: a file at a time, and whatever starts a Ray in one of them."""

from __future__ import annotations

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

RAYS = (
    "tests/served/",
    "tests/bulk/test_page.py",
    "tests/bulk/test_processes.py",
    "tests/runtime/bulk/test_pipeline.py",
    "tests/runtime/serving/test_runner.py",
    "tests/training/test_train_ray.py",
)
"""Two Rays beside each other on two cores are slow to come up; and each has a dozen processes."""

LONG = ("tests/shipped/test_graphs.py", "tests/training/")
"""Begun early, so that at the end no process waits for another's long file."""


def share(nodeid: str) -> str:
    """What must be run by one process: a file, for its fixtures, or all that starts a Ray."""
    return "rays" if nodeid.startswith(RAYS) else nodeid.partition("::")[0]


def turn(item: pytest.Item) -> int:
    """Long shares first."""
    return 0 if item.nodeid.startswith(RAYS) else 1 if item.nodeid.startswith(LONG) else 2


def one_thread() -> None:
    """For this process and those it starts: two processes with a thread per core each are several times slower."""
    os.environ["OMP_NUM_THREADS"] = "1"


class Shares(LoadScopeScheduling):  # type: ignore[misc]
    """Shares in the order of the collection, to whichever process is free."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)
