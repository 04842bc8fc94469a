"""Servers that tests share, because starting one takes a second.

They end with these tests: an executor looks for runs many times a second, also when there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened


@pytest.fixture(scope="session")
def strict(small_root: Path) -> Checkpoint:
    """The small checkpoint as a server opens it: adapters by name only."""
    return Checkpoint.open(small_root, paths=False)


@pytest.fixture(scope="package")
def door(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server without keys, with an executor."""
    with opened(tmp_path_factory.mktemp("home"), strict) as door:
        yield door


@pytest.fixture(scope="module")
def waiting(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server without an executor, with a queue of three runs."""
    with opened(
        tmp_path_factory.mktemp("waiting"), strict, options=ApiOptions(queued=3, render_seconds=1), executing=False
    ) as door:
        yield door
