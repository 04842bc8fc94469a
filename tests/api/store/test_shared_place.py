"""Servers of one table have one artifact store."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.api.store.home import Home
from acestep_flows.errors import Conflict


def test_another_artifact_store_is_refused(url: str, tmp_path: Path) -> None:
    first = Home.open(tmp_path / "first", database=url)
    first.artifacts.put(b"song")
    with pytest.raises(Conflict, match="same --artifacts"):
        Home.open(tmp_path / "second", database=url)
    Home.open(tmp_path / "first", database=url).close()
    first.close()


def test_servers_with_one_store_share_a_table(url: str, tmp_path: Path) -> None:
    place = f"file://{tmp_path}/songs"
    (tmp_path / "songs").mkdir()
    first = Home.open(tmp_path / "first", database=url, artifacts=place)
    blob = first.artifacts.put(b"song")
    second = Home.open(tmp_path / "second", database=url, artifacts=place)
    assert second.artifacts.open(blob.digest).read() == b"song"
    with pytest.raises(Conflict):
        Home.open(tmp_path / "third", database=url)
    first.close()
    second.close()


def test_a_table_without_files_takes_a_new_store(url: str, tmp_path: Path) -> None:
    Home.open(tmp_path / "first", database=url).close()
    Home.open(tmp_path / "moved", database=url).close()


def test_a_home_of_its_own_may_lose_its_files(tmp_path: Path) -> None:
    Home.open(tmp_path).close()
    (tmp_path / "artifacts" / "unfinished").rmdir()
    (tmp_path / "artifacts").rmdir()
    Home.open(tmp_path).close()
