"""Fetching through the hub's cache: what is there is not downloaded, and what is downloaded is there for others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from acestep_flows import Session
from acestep_flows.cli.main import cli
from acestep_flows.errors import CheckpointError, DownloadError, InputError, NotFound
from acestep_flows.model.checkpoint import PARTS, part_files
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.settings import Settings
from acestep_flows.weights import hub, hub_cache, hub_listing
from acestep_flows.weights.choose import choose_weights
from acestep_flows.weights.published import git_id
from tests.hub_server import HubServer, serve
from tests.weights.test_hub import VOCAB_URL, as_json, content_digest

REVISION = "82cd0d7b6322bd28cd4e830fe675ddb6180ce36c"
REPO = "someone/Small-Model"
CONTENT = {f"{part}/{name}": f"{part} {name} ".encode() * 5000 for part in PARTS for name in part_files(part)}
URL = f"/{REPO}/resolve/{REVISION}/"
API = f"/api/models/{REPO}?blobs=true"

ADAPTER = embedded_checkpoint() / "adapters" / "lyric2vocal"

MODEL = hub.PublishedFiles(
    REPO,
    "model",
    REVISION,
    tuple(hub.PublishedFile(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in CONTENT.items()),
    hub.PublishedVocab("someone/Demo", "space", "main", ("new/vocab.json",), content_digest()),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library, and MODEL as the published model."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for module in (hub, hub_listing):
        monkeypatch.setattr(module, "published", lambda: MODEL)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ACESTEP_FLOWS_CHECKPOINT", raising=False)
    monkeypatch.delenv("ACESTEP_FLOWS_LYRIC_VOCAB", raising=False)
    return tmp_path / "hub"


@pytest.fixture
def server() -> Iterator[HubServer]:
    files = {URL + path: body for path, body in CONTENT.items()}
    with serve(HubServer(files | {VOCAB_URL + "new/vocab.json": as_json(4)})) as server:
        yield server


@pytest.fixture
def fetch(server: HubServer, tmp_path: Path) -> Callable[..., Path]:
    def run(folder: Path = tmp_path / "model", *, share: bool = True, **options: object) -> Path:
        return hub.fetch(folder, endpoint=server.url, share=share, **options)  # type: ignore[arg-type]

    return run


def fill(cache: Path, *, main: bool = True, content: dict[str, bytes] = CONTENT) -> Path:
    """The layout that the library leaves, made by hand: blobs, links to them, and a branch."""
    folder = cache / "models--someone--Small-Model"
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    for path, body in content.items():
        is_lfs = path.endswith(".safetensors")
        git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        blob = folder / "blobs" / (hashlib.sha256(body).hexdigest() if is_lfs else git)
        blob.write_bytes(body)
        place = folder / "snapshots" / REVISION / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(blob, place.parent))
    if main:
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(REVISION)
    return folder


def weights_asked(server: HubServer) -> list[str]:
    return [path for path, _ in server.requests if path.startswith(URL)]


def api_answer(content: dict[str, bytes] = CONTENT) -> bytes:
    """What the hub says of the model: of large files sha256, of small ones git's id."""
    siblings = []
    for path, body in {**content, "README.md": b"about"}.items():
        about: dict[str, object] = {"rfilename": path, "size": len(body)}
        if path.endswith(".safetensors"):
            sha256 = hashlib.sha256(body).hexdigest()
            about |= {"blobId": "0" * 40, "lfs": {"sha256": sha256, "size": len(body), "pointerSize": 130}}
        else:
            about["blobId"] = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        siblings.append(about)
    return json.dumps({"id": REPO, "sha": REVISION, "siblings": siblings}).encode()


def command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


# What the hub's cache has


@pytest.mark.parametrize("share", [True, False])
def test_nothing_is_downloaded_that_the_cache_has(
    fetch: Callable[..., Path], server: HubServer, cache: Path, share: bool
) -> None:
    fill(cache)
    folder = fetch(share=share)
    assert weights_asked(server) == []
    assert {path: (folder / path).read_bytes() for path in CONTENT} == CONTENT
    assert {(folder / path).is_symlink() for path in CONTENT} == {share}
    assert hub.is_fetched(folder)


def test_only_what_is_missing_or_damaged_is_downloaded(
    fetch: Callable[..., Path], server: HubServer, cache: Path
) -> None:
    absent, damaged = f"{PARTS[0]}/config.json", f"{PARTS[1]}/diffusion_pytorch_model.safetensors"
    folder = fill(cache, content={path: body for path, body in CONTENT.items() if path != absent})
    (folder / "snapshots" / REVISION / damaged).write_bytes(bytes(len(CONTENT[damaged])))
    fetched = fetch()
    assert sorted(weights_asked(server)) == sorted([URL + absent, URL + damaged])
    assert {path: (fetched / path).read_bytes() for path in CONTENT} == CONTENT
    assert (folder / "snapshots" / REVISION / damaged).read_bytes() == CONTENT[damaged]


def test_what_is_downloaded_is_there_for_other_programs(
    fetch: Callable[..., Path], server: HubServer, cache: Path
) -> None:
    fetch()
    server.requests.clear()
    for path, body in CONTENT.items():
        place = huggingface_hub.hf_hub_download(REPO, path, revision=REVISION, endpoint=server.url)
        assert Path(place).read_bytes() == body
    assert server.requests == []
    (repo,) = huggingface_hub.scan_cache_dir(cache).repos
    assert (repo.repo_id, repo.nb_files) == (REPO, len(CONTENT))
    fetch()
    assert server.requests == []


def test_an_interrupted_download_goes_on_in_the_next_call(
    fetch: Callable[..., Path], server: HubServer, cache: Path
) -> None:
    first = f"{PARTS[0]}/config.json"
    (vocab := cache.parent / "vocab.json").write_bytes(as_json(None))
    server.ranges, server.cut_after, server.cuts = False, 20_000, 1000
    with pytest.raises(DownloadError, match="received so far are kept"):
        fetch(lyric_vocab=vocab, retry_delays=())
    (part,) = (cache / "models--someone--Small-Model" / "blobs").iterdir()
    assert (part.suffix, part.stat().st_size) == (".part", 20_000)
    server.ranges, server.cuts = True, 0
    server.requests.clear()
    fetch(lyric_vocab=vocab)
    assert [headers.get("range") for headers in server.headers_of(URL + first)] == ["bytes=20000-"]
    assert not list(cache.rglob("*.part"))


def test_a_download_that_0_1_began_goes_on_in_its_folder(
    fetch: Callable[..., Path], server: HubServer, tmp_path: Path
) -> None:
    first = next(iter(CONTENT))
    part = tmp_path / "model" / f"{first}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[first][:1000])
    folder = fetch()
    assert server.headers_of(URL + first)[0]["range"] == "bytes=1000-"
    assert (folder / first).read_bytes() == CONTENT[first]


def test_a_copy_needs_room_too(
    fetch: Callable[..., Path], server: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    fetch()
    with pytest.raises(Exception, match=r"GB to fetch, but only 0\.0 GB free"):
        fetch(cache.parent / "copy", share=False)
    assert not list((cache.parent / "copy").glob("*/*"))


def test_a_file_system_without_links_gets_copies(
    fetch: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = fetch()
    assert hub.is_fetched(folder)
    assert not any(path.is_symlink() for path in (*folder.rglob("*"), *cache.rglob("*")))


# Without a network


def test_offline_uses_what_is_there(
    fetch: Callable[..., Path], server: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"^HF_HUB_OFFLINE is set, and the lyric vocabulary .*--lyric-vocab"):
        fetch()
    vocab = cache / "spaces--someone--Demo" / "snapshots" / "abc" / "new" / "vocab.json"
    vocab.parent.mkdir(parents=True)
    vocab.write_bytes(as_json(None))
    (vocab.parents[3] / "refs").mkdir()
    (vocab.parents[3] / "refs" / "main").write_text("abc")
    with pytest.raises(DownloadError, match=r"^HF_HUB_OFFLINE is set, and 9 files of someone/Small-Model \(0\.0 GB\)"):
        fetch()
    fill(cache)
    assert hub.is_fetched(fetch())
    assert server.requests == []


def test_the_variable_of_the_environment_is_respected(tmp_path: Path) -> None:
    env = dict(os.environ) | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path),
        "ACESTEP_FLOWS_CACHE": str(tmp_path),
    }
    arguments = [sys.executable, "-m", "acestep_flows.cli", "fetch", "--endpoint", "http://127.0.0.1:1"]
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("error: HF_HUB_OFFLINE is set, and the lyric vocabulary is not on this machine")


# Any model on the hub


def test_a_named_model_is_fetched_verified_and_found(
    server: HubServer, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files[API] = api_answer()
    other = hub.PublishedFiles("other/Model", "model", REVISION, MODEL.files, MODEL.vocab)
    monkeypatch.setattr(hub, "published", lambda: other)
    with pytest.raises(CheckpointError, match=r"--checkpoint: no folder 'someone/Small-Model'.*flows fetch someone/Sm"):
        choose_weights(Settings(tmp_path / "cache"), REPO)
    done = command("fetch", REPO, "--endpoint", server.url)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "cache" / "checkpoints" / "Small-Model-82cd0d7b"
    assert done.stdout.strip() == str(folder)
    assert {path: (folder / path).read_bytes() for path in CONTENT} == CONTENT
    assert (folder / hub.LYRIC_VOCAB).is_file()
    assert not (folder / "README.md").exists()
    chosen = choose_weights(Settings(tmp_path / "cache"), REPO)
    assert (chosen.folder, chosen.model) == (folder, "Small-Model-82cd0d7b")
    assert Path(str(hub_cache.newest(REPO))).name == REVISION


def test_the_hubs_own_digests_are_checked(server: HubServer, tmp_path: Path) -> None:
    server.files[API] = api_answer()
    files = hub_listing.listing(REPO, server.url)
    assert {bool(file.sha256) for file in files.files} == {True, False}
    for path in (f"{PARTS[0]}/config.json", f"{PARTS[0]}/diffusion_pytorch_model.safetensors"):
        server.files[URL + path] = b"x" * len(CONTENT[path])
        with pytest.raises(DownloadError, match=f"^{path}: wrong content"):
            hub.fetch(tmp_path / "other", published_files=files, endpoint=server.url)
        server.files[URL + path] = CONTENT[path]


def test_a_named_model_that_another_program_fetched_is_used_where_it_lies(tmp_path: Path, cache: Path) -> None:
    snapshot = fill(cache) / "snapshots" / REVISION
    chosen = choose_weights(Settings(tmp_path / "cache"), REPO)
    assert (chosen.folder, chosen.model, chosen.origin) == (snapshot, "Small-Model-82cd0d7b", "argument")


def test_a_folder_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / REPO).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert choose_weights(Settings(tmp_path / "cache"), REPO).folder == tmp_path / REPO


def test_the_listing_without_a_network_is_that_of_the_cache(
    server: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache)
    files = hub_listing.listing(REPO, "http://127.0.0.1:1")
    assert {file.path: file.bytes for file in files.files} == {path: len(body) for path, body in CONTENT.items()}
    assert all(
        file.digest(cache / "models--someone--Small-Model" / "snapshots" / REVISION / file.path) == file.expected_digest
        for file in files.files
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_listing.listing(REPO, server.url).files == files.files
    assert server.requests == []
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set, and someone/Else is not in the hub's cache"):
        hub_listing.listing("someone/Else", server.url)


@pytest.mark.parametrize(
    ("repo", "statuses", "answer", "error", "text"),
    [
        (
            REPO,
            [401],
            b"",
            NotFound,
            "the hub has no model 'someone/Small-Model', or a private one; for that set HF_TOKEN",
        ),
        (REPO, [], None, NotFound, "the hub has no model 'someone/Small-Model'"),
        (REPO, [500], b"", DownloadError, "someone/Small-Model: the hub answered with status 500"),
        (REPO, [], api_answer({"pytorch_lora_weights.safetensors": b"x"}), NotFound, "is not a model in the layout of"),
        ("small", [], None, InputError, "fetch: 'small' is not a model's name (allowed: ORG/NAME, as the hub has it)"),
        ("a/b/c", [], None, InputError, "is not a model's name"),
        ("a--b/c", [], None, InputError, "is not a model's name"),
    ],
)
def test_a_name_that_gives_nothing_is_told(
    server: HubServer, repo: str, statuses: list[int], answer: bytes | None, error: type[Exception], text: str
) -> None:
    server.statuses = statuses
    if answer:
        server.files[API] = answer
    with pytest.raises(error) as raised:
        hub_listing.listing(repo, server.url)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_network_is_told(tmp_path: Path) -> None:
    done = command("fetch", REPO + "2", "--endpoint", "http://127.0.0.1:1")
    assert done.exit_code == 5
    assert done.stderr.startswith("error: someone/Small-Model2: the hub does not answer: ")
    assert len(done.stderr.splitlines()) == 1


# --checkpoint ORG/NAME


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "text2music", "--set", "tags=x"],
        ["doctor"],
        ["bulk", "--graph", "text2music", "--set", "tags=x", "--out", "bulk"],
        ["adapter", "merge", "model", "--out", "merged"],
        ["adapter", "inspect", str(ADAPTER)],
    ],
    ids=" ".join,
)
def test_commands_name_the_fetch_and_download_nothing(
    arguments: list[str], server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    done = command(*arguments, "--checkpoint", "someone/Else")
    assert done.exit_code == 3, done.output
    assert "--checkpoint: no folder 'someone/Else', and no model of that name on this machine" in done.stderr
    assert "acestep-flows fetch someone/Else" in done.stderr
    assert server.requests == []


def test_a_session_names_the_fetch_too() -> None:
    with pytest.raises(CheckpointError, match=r"^weights: no folder 'someone/Else'.*acestep-flows fetch someone/Else"):
        Session("someone/Else")


def test_a_model_of_the_hub_makes_a_song(cache: Path) -> None:
    """A whole model in the published layout, as another program left it in the hub's cache."""
    nano = embedded_checkpoint()
    names = [path.relative_to(nano).as_posix() for path in nano.rglob("*") if path.is_file()]
    fill(cache, content={name: (nano / name).read_bytes() for name in names})
    with Session(REPO) as session:
        song = session.run("text2music", tags="pop", duration=1, steps=2, seed=7)
    assert "Small-Model-82cd0d7b" in str(song.recipe)
    assert song.audio.seconds > 0.5


def test_gits_id_is_that_of_git(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"
