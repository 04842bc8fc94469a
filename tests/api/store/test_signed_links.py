"""Links straight into an S3 store."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep_flows.api.server.options import IngressOptions, ServerOptions
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.signed_links import LinkSigner
from acestep_flows.errors import InputError
from benchmarks.fault_services import ObjectStore

HEADERS = {"ContentType": "audio/flac", "ContentDisposition": 'attachment; filename="song.flac"'}
SECRET = "marked/secret+0123"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.file(tmp_path / "runs.sqlite")
    yield opened
    opened.close()


def test_a_link_needs_no_keys(object_store: ObjectStore, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    artifacts = Artifacts(database, object_store.url("files"))
    blobs = artifacts.put_all([b"song", b"recipe", b"song"])
    assert blobs[0] == blobs[2]
    link = artifacts.direct_link(blobs[0].digest, 60, HEADERS)
    assert link is not None
    assert blobs[0].digest in link
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"song"
        assert answer.headers["Content-Type"] == "audio/flac"
        assert answer.headers["Content-Disposition"] == HEADERS["ContentDisposition"]
    other = link.replace(blobs[0].digest[:2], "zz", 1)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(other)


def test_keys_of_the_url_sign_and_are_not_told() -> None:
    place = "s3://KEY:marked%2Fsecret%2B0123@songs/home?region=eu-central-1"
    link = LinkSigner(place, "eu-central-1").sign("songs/home/ab/abc", 30 * 86_400, HEADERS)
    assert link is not None
    assert link.startswith("https://songs.s3.")
    assert "X-Amz-Expires=604800" in link
    assert "KEY%2F" in link
    assert SECRET not in link
    assert "marked" not in link


def test_without_keys_there_is_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    assert LinkSigner("s3://songs/home", "eu-central-1").sign("songs/home/ab/abc", 60, HEADERS) is None


def test_a_folder_has_no_links_of_its_own(database: Database, tmp_path: Path) -> None:
    artifacts = Artifacts(database, tmp_path / "files")
    assert artifacts.direct_link(artifacts.put(b"song").digest, 60, HEADERS) is None


def test_direct_links_need_an_s3_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--direct-links: there is no S3 store \(allowed: with --artifacts s3://"):
        ServerOptions(host="127.0.0.1", port=0, home=tmp_path, pool="local", direct_links=True)
    with pytest.raises(ValueError, match="there is no S3 store"):
        IngressOptions(direct_links=True, artifacts="file:///data")
    assert IngressOptions(direct_links=True, artifacts="s3://songs/home").direct_links
