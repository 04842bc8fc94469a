"""Downloads of the whole model into a folder, from a hub on 127.0.0.1."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acestep_flows.errors import CheckpointError, DownloadError, NotFound, StorageError
from acestep_flows.weights import hub
from acestep_flows.weights.download import TransferProgress
from tests.hub_server import HubServer, serve

REVISION = "0123456789abcdef"
CONTENT = {"part/config.json": b"{}", "part/model.safetensors": bytes(300_000)}
VOCAB = {"model": {"vocab": {"[STOP]": 0, "é": 1}}}


def as_json(indent: int | None) -> bytes:
    return json.dumps(VOCAB, indent=indent, ensure_ascii=indent is None).encode()


def content_digest() -> str:
    text = json.dumps(VOCAB, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


MODEL = hub.PublishedFiles(
    "someone/Small-Model",
    "model",
    REVISION,
    tuple(hub.PublishedFile(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in CONTENT.items()),
    hub.PublishedVocab("someone/Demo", "space", "main", ("new/vocab.json", "old/vocab.json"), content_digest()),
)
MODEL_URL = f"/someone/Small-Model/resolve/{REVISION}/"
VOCAB_URL = "/spaces/someone/Demo/resolve/main/"


@pytest.fixture
def server() -> Iterator[HubServer]:
    files = {MODEL_URL + path: body for path, body in CONTENT.items()}
    with serve(HubServer(files | {VOCAB_URL + "new/vocab.json": as_json(4)})) as server:
        yield server


def test_every_file_is_fetched_under_its_path(server: HubServer, tmp_path: Path) -> None:
    folder = hub.fetch(tmp_path / "model", published_files=MODEL, endpoint=server.url)
    assert {path: (folder / path).read_bytes() for path in CONTENT} == CONTENT
    assert json.loads((folder / hub.LYRIC_VOCAB).read_bytes()) == VOCAB
    assert not list(folder.rglob("*.part"))
    assert hub.is_fetched(folder, MODEL)


def test_a_second_fetch_requests_nothing(server: HubServer, tmp_path: Path) -> None:
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    server.requests.clear()
    events: list[TransferProgress] = []
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url, listener=events.append)
    assert not server.requests
    assert {progress.action for progress in events} == {"verify"}


@pytest.mark.parametrize("damage", [b"", b"\1" * 300_000, bytes(299_999)])
def test_a_damaged_file_is_fetched_again(server: HubServer, tmp_path: Path, damage: bytes) -> None:
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    server.requests.clear()
    (tmp_path / "part/model.safetensors").write_bytes(damage)
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    assert (tmp_path / "part/model.safetensors").read_bytes() == CONTENT["part/model.safetensors"]
    assert [path for path, _ in server.requests] == [MODEL_URL + "part/model.safetensors"]


def test_a_missing_or_short_file_does_not_count_as_fetched(server: HubServer, tmp_path: Path) -> None:
    assert not hub.is_fetched(tmp_path, MODEL)
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    (tmp_path / "part/model.safetensors").write_bytes(b"short")
    assert not hub.is_fetched(tmp_path, MODEL)


def test_the_vocabulary_is_found_at_its_old_path_in_any_formatting(server: HubServer, tmp_path: Path) -> None:
    del server.files[VOCAB_URL + "new/vocab.json"]
    server.files[VOCAB_URL + "old/vocab.json"] = as_json(None)
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    assert json.loads((tmp_path / hub.LYRIC_VOCAB).read_bytes()) == VOCAB


def test_the_path_of_the_vocabulary_can_be_given(server: HubServer, tmp_path: Path) -> None:
    server.files[VOCAB_URL + "else where.json"] = server.files.pop(VOCAB_URL + "new/vocab.json")
    server.files[VOCAB_URL + "else%20where.json"] = server.files[VOCAB_URL + "else where.json"]
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url, lyric_vocab_path="else where.json")
    assert (tmp_path / hub.LYRIC_VOCAB).is_file()


def test_a_missing_vocabulary_is_an_error_before_weights_are_fetched(server: HubServer, tmp_path: Path) -> None:
    del server.files[VOCAB_URL + "new/vocab.json"]
    with pytest.raises(NotFound, match="someone/Demo at new/vocab.json or old/vocab.json.*--lyric-vocab"):
        hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    assert not server.headers_of(MODEL_URL + "part/model.safetensors")


@pytest.mark.parametrize("body", [b'{"model": {}}', b"<html>", b"\xff\xfe"])
def test_another_vocabulary_is_refused(server: HubServer, tmp_path: Path, body: bytes) -> None:
    server.files[VOCAB_URL + "new/vocab.json"] = body
    with pytest.raises(DownloadError, match="wrong content"):
        hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    assert not (tmp_path / hub.LYRIC_VOCAB).exists()


def test_a_local_vocabulary_is_checked_and_copied(server: HubServer, tmp_path: Path) -> None:
    local = tmp_path / "mine.json"
    local.write_bytes(as_json(2))
    folder = hub.fetch(tmp_path / "model", published_files=MODEL, endpoint=server.url, lyric_vocab=local)
    assert (folder / hub.LYRIC_VOCAB).read_bytes() == as_json(2)
    assert not server.headers_of(VOCAB_URL + "new/vocab.json")

    local.write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"mine\.json: not the lyric vocabulary"):
        hub.fetch(tmp_path / "model", published_files=MODEL, endpoint=server.url, lyric_vocab=local)
    assert (folder / hub.LYRIC_VOCAB).read_bytes() == as_json(2)


def test_the_token_is_sent_to_the_hub(server: HubServer, tmp_path: Path) -> None:
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url, token="hf_secret")
    assert {headers["authorization"] for _, headers in server.requests} == {"Bearer hf_secret"}


def test_concurrent_fetches_download_each_file_once(server: HubServer, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(server.requests) == len(CONTENT) + 1
    assert hub.is_fetched(tmp_path, MODEL)


def test_the_lock_is_free_after_a_failure(server: HubServer, tmp_path: Path) -> None:
    body = server.files.pop(MODEL_URL + "part/config.json")
    with pytest.raises(NotFound, match=r"part/config\.json"):
        hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    server.files[MODEL_URL + "part/config.json"] = body
    hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    assert hub.is_fetched(tmp_path, MODEL)


def test_too_little_space_is_an_error_before_weights_are_fetched(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"0\.0 GB free"):
        hub.fetch(tmp_path, published_files=MODEL, endpoint=server.url)
    assert not any(path.startswith(MODEL_URL) for path, _ in server.requests)


def test_a_target_that_is_a_file_is_an_error(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write to"):
        hub.fetch(tmp_path / "model", published_files=MODEL, endpoint=server.url)


def test_the_published_files_have_the_known_total() -> None:
    model = hub.published()
    assert model.total == 8_275_790_207
    assert len({file.path for file in model.files}) == len(model.files) == 11
    assert all(len(file.sha256) == 64 for file in model.files)
    assert hub.default_folder(Path("/cache")) == Path("/cache/checkpoints/ACE-Step-v1-3.5B-82cd0d7b")
    assert hub.default_folder(Path("/c"), replace(model, repo="plain")).name == "plain-82cd0d7b"


def test_the_published_files_are_those_of_the_reference(pytestconfig: pytest.Config) -> None:
    root: Path = pytestconfig.getoption("--reference")
    if not (root / "checkpoint-manifest.json").is_file():
        pytest.skip(f"no reference at {root}")
    manifest = json.loads((root / "checkpoint-manifest.json").read_text())
    model = hub.published()
    assert (model.repo, model.revision) == (manifest["hub_repo"], manifest["revision"])
    assert {file.path: (file.bytes, file.sha256) for file in model.files} == {
        file["path"]: (file["bytes"], file["sha256"]) for file in manifest["files"]
    }
    assert hub.vocab_content_sha256(root / "lyric-vocab.json") == model.vocab.content_sha256
