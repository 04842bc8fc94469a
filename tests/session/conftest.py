"""One session on small random weights, and the song it made first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep_flows import Session
from acestep_flows.session import RunResult
from tests.session.songs import SONG


@pytest.fixture(scope="module")
def session(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(small_root, cache_folder=tmp_path_factory.mktemp("results")) as session:
        yield session


@pytest.fixture(scope="module")
def result(session: Session) -> RunResult:
    return session.run("text2music", **SONG)
