"""The artifact store: whole files or none, ranges, and that nothing in use is collected."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.errors import InputError, NotFound, Overloaded, StorageError
from tests.api.store.clock import Clock

NOBODY = select(literal("")).where(literal(1) == literal(0))


@pytest.fixture
def artifacts(database: Database, tmp_path: Path, clock: Clock) -> Artifacts:
    return Artifacts(database, tmp_path / "files", clock)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_content_is_kept_once_and_read_back(artifacts: Artifacts, tmp_path: Path) -> None:
    blob = artifacts.put(b"song")
    assert blob.digest == hashlib.sha256(b"song").hexdigest()
    assert artifacts.put(b"song") == blob
    assert [path.name for path in files(tmp_path / "files")] == [blob.digest]
    assert artifacts.open(blob.digest).read() == b"song"
    with artifacts.path(blob.digest) as path:
        assert path.read_bytes() == b"song"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 30), length=st.none() | st.integers(0, 30))
def test_any_range_is_that_of_the_bytes(artifacts: Artifacts, start: int, length: int | None) -> None:
    content = bytes(range(25))
    blob = artifacts.put(content)
    end = None if length is None else start + length
    assert b"".join(artifacts.chunks(blob.digest, start, length)) == content[start:end]


def test_large_files_come_in_pieces(artifacts: Artifacts) -> None:
    content = bytes(700_000)
    pieces = [*artifacts.chunks(artifacts.put(content).digest, 1, 650_000)]
    assert len(pieces) > 1
    assert sum(map(len, pieces)) == 650_000


def test_an_upload_that_is_not_finished_leaves_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    with artifacts.upload() as upload:
        upload.write(b"half")
    with artifacts.upload(limit=3) as upload:
        upload.write(b"ab")
        with pytest.raises(InputError, match="more than 3 bytes"):
            upload.write(b"cd")
    assert files(tmp_path / "files") == []


def test_an_upload_can_be_inspected_before_it_is_finished(database: Database, tmp_path: Path) -> None:
    for place in (tmp_path / "files", "mock:///bucket/files"):
        artifacts = Artifacts(database, place)
        with artifacts.upload() as upload:
            upload.write(b"so")
            upload.write(b"ng")
            with upload.as_path() as path:
                assert path.read_bytes() == b"song"
            blob = upload.finish()
        assert artifacts.open(blob.digest).read() == b"song"
        with artifacts.upload() as upload:
            upload.write(b"refused")
            with upload.as_path() as path:
                assert path.read_bytes() == b"refused"
        with pytest.raises(NotFound):
            artifacts.open(hashlib.sha256(b"refused").hexdigest())
    assert [path.name for path in files(tmp_path / "files")] == [hashlib.sha256(b"song").hexdigest()]


def test_unfinished_uploads_have_a_size_together(database: Database, tmp_path: Path) -> None:
    artifacts = Artifacts(database, tmp_path / "files", most_unfinished=10)
    with artifacts.upload(limit=8) as first, artifacts.upload(limit=8) as second, artifacts.upload() as unlimited:
        first.write(b"12345678")
        second.write(b"12")
        with pytest.raises(Overloaded) as caught:
            second.write(b"3")
        assert caught.value.retry_after > 0
        unlimited.write(bytes(1000))  # files of the server itself have no limit
    with artifacts.upload(limit=10) as again:
        again.write(bytes(10))
        again.finish()
    with artifacts.upload(limit=10) as again:
        again.write(bytes(10))


def test_a_file_and_its_name_are_flushed_before_it_is_referenced(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr("acestep_flows.storage.flush", lambda file: flushed.append("content"))
    monkeypatch.setattr("acestep_flows.storage.flush_folder", lambda folder: flushed.append(folder.name))
    blob = artifacts.put(b"song")
    assert flushed == ["content", "files", blob.digest[:2]]


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 64, "\ud800", "A" * 64])
def test_a_missing_file_is_not_found(artifacts: Artifacts, digest: str) -> None:
    with pytest.raises(NotFound):
        artifacts.open(digest)
    with pytest.raises(NotFound):
        artifacts.chunks(digest)
    with pytest.raises(NotFound), artifacts.path(digest):
        pass


def test_unusable_places_are_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="artifacts"):
        Artifacts(database, "gopher://x/y")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Artifacts(database, tmp_path / "file")


def test_a_place_by_url_works_like_a_folder(database: Database, tmp_path: Path) -> None:
    artifacts = Artifacts(database, f"file://{tmp_path}/files")
    assert artifacts.open(artifacts.put(b"x").digest).read() == b"x"


def test_a_file_in_place_of_the_folder_is_refused(database: Database, clock: Clock) -> None:
    """The mock file system of pyarrow replaces an object store."""
    artifacts = Artifacts(database, "mock:///bucket/files", clock)
    blob = artifacts.put(b"song")
    assert b"".join(artifacts.chunks(blob.digest, 1, 2)) == b"on"
    with artifacts.path(blob.digest) as path:
        assert path.read_bytes() == b"song"
    assert not path.exists()
    clock.now += 100
    assert artifacts.collect(50, NOBODY) == 4
    with pytest.raises(NotFound):
        artifacts.open(blob.digest)


def test_only_unreferenced_files_are_collected(artifacts: Artifacts, tmp_path: Path, clock: Clock) -> None:
    used, idle = artifacts.put(b"used"), artifacts.put(b"idle")
    clock.now += 100
    young = artifacts.put(b"young")
    assert artifacts.collect(50, select(literal(used.digest))) == 4
    assert {path.name for path in files(tmp_path / "files")} == {used.digest, young.digest}
    again = artifacts.put(b"idle")
    assert again == idle
    assert artifacts.open(idle.digest).read() == b"idle"


def test_a_store_that_fails_during_a_sweep_is_a_storage_error(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(database, "mock:///bucket/files")

    class Gone:
        def get_file_info(self, what: object) -> None:
            raise OSError("503, slow down")

    monkeypatch.setattr(artifacts._unfinished_files, "_files", Gone())
    with pytest.raises(StorageError, match="503"):
        artifacts.collect(0, NOBODY)


def test_putting_a_file_again_protects_it_from_collection(artifacts: Artifacts, clock: Clock) -> None:
    blob = artifacts.put(b"x")
    clock.now += 100
    artifacts.put(b"x")
    assert artifacts.collect(50, NOBODY) == 0
    assert artifacts.open(blob.digest).read() == b"x"


def test_a_new_file_survives_a_concurrent_collection(artifacts: Artifacts, clock: Clock) -> None:
    """A collector runs beside puts. It removes old files, but never one that was just put again."""
    over, freed = threading.Event(), 0

    def collect() -> None:
        nonlocal freed
        while not over.is_set():
            freed += artifacts.collect(50, NOBODY)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for round in range(3000):
            clock.now += 100
            time.sleep(round % 3 / 1000)  # the collector may come before or after the put, or meanwhile
            blob = artifacts.put(b"again and again")
            assert b"".join(artifacts.chunks(blob.digest)) == b"again and again"
            if round >= 60 and freed:  # the collector may have to wait for the lock
                break
    finally:
        over.set()
        thread.join()
    assert freed > 0
