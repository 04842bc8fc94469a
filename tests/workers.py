"""How several pytest processes share the suite: by files, and two that start a Ray beside each other only at the end.

Two Rays on two cores are slow to come up, and what is killed and started again in them is slow to be ready.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ONE_RAY = (
    "tests/runtime/serving/test_runner.py",
    "tests/api/execution/test_written_by_hosts.py",
    "tests/bulk/test_processes.py",
    "tests/runtime/bulk/test_pipeline.py",
    "tests/training/data/test_encode.py",
)
"""Files whose tests have the Ray of `ray_cluster` in common."""

ONE_SERVER = (
    "tests/compat/test_killed_server.py",
    "tests/compat/v1/test_rest.py",
    "tests/compat/acestep15/test_clients.py",
)
"""Files whose tests have the `server` of tests/compat in common."""

RAYS = (
    "tests/served/",
    "tests/studio/",
    *ONE_RAY,
    "tests/bulk/test_stopped_jobs.py",
    "tests/test_readme.py",
    *ONE_SERVER,
    "tests/training/loop/test_train_ray.py",
    "tests/runtime/serving/test_ray_environment.py",
    "tests/bulk/test_page.py",
)
"""Where Rays are started, the longest first, so that short ones are left for whoever is done early.

Those of a folder share one.
"""

LONG = ("tests/shipped/test_graphs.py", "tests/training/")
"""Begun early too, so that at the end no process waits for another's long file."""


def starts_ray(name: str) -> bool:
    """Whether a file, or a test by its id, does."""
    return name.startswith(RAYS)


def share(nodeid: str) -> str:
    """What must be run by one process: the tests of a file, or of a folder, that have a fixture in common."""
    file = nodeid.partition("::")[0]
    together = next((files for files in (ONE_RAY, ONE_SERVER) if file in files), None)
    return together[0] if together else next((place for place in RAYS if file.startswith(place)), file)


def turn(item: pytest.Item) -> int:
    """Where an item stands in the queue."""
    order = (*RAYS, *LONG)
    return next((turn for turn, place in enumerate(order) if item.nodeid.startswith(place)), len(order))


def one_thread() -> None:
    """Give this process and those it starts one thread.

    Two processes with a thread per core each are several times slower. And songs that are compared bit by bit were made
    alone in one place and in company in another: with several threads their last digits differ.
    """
    os.environ["OMP_NUM_THREADS"] = "1"


def keep_compiled() -> None:
    """Let this process and those it starts keep compiled modules, also where the environment forbids it.

    Otherwise every process that a test starts compiles the package anew, and every run all tests.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


class Shares(LoadScopeScheduling):  # type: ignore[misc]
    """Shares in the order of the collection, to whichever process is free."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        under_way = [work for other, given in self.assigned_work.items() if other is not node for work in given.items()]
        if any(starts_ray(name) and not all(tests.values()) for name, tests in under_way):
            without = next((name for name in self.workqueue if not starts_ray(name)), None)
            if without is not None:
                self.workqueue.move_to_end(without, last=False)
        super()._assign_work_unit(node)
