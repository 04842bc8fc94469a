"""One file at a time, against a real server on 127.0.0.1."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acestep_flows.errors import DownloadError, NotFound, StorageError
from acestep_flows.weights.download import Download, TransferProgress, download
from tests.hub_server import HubServer, serve

BODY = bytes(range(256)) * 8192  # 2 MiB
TWICE = (0.0, 0.0)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serve(HubServer(files={"/weights": BODY})) as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(follow_redirects=True, timeout=5, trust_env=False) as client:
        yield client


def weights(hub: HubServer, folder: Path, body: bytes = BODY, path: str = "/weights") -> Download:
    return Download(hub.url + path, folder / "sub" / "weights", "weights", len(body), hashlib.sha256(body).hexdigest())


def test_a_file_arrives_with_progress(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    heard: list[TransferProgress] = []
    download(client, weights(hub, tmp_path), heard.append)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["weights"]
    fetched = [progress.done for progress in heard if progress.action == "download"]
    assert fetched == sorted(fetched)
    assert (fetched[0], fetched[-1]) == (0, len(BODY))
    assert {progress.total for progress in heard} == {len(BODY)}
    assert heard[-1] == TransferProgress("weights", "verify", len(BODY), len(BODY))


def test_a_part_is_continued(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    wanted = weights(hub, tmp_path)
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(BODY[:1000])
    download(client, wanted)
    assert wanted.destination.read_bytes() == BODY
    assert hub.asked("/weights")[0]["range"] == "bytes=1000-"


def test_a_whole_part_is_only_verified(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    wanted = weights(hub, tmp_path)
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(BODY)
    download(client, wanted)
    assert wanted.destination.read_bytes() == BODY
    assert not hub.requests


@pytest.mark.parametrize("announce_length", [True, False])
def test_a_transfer_cut_short_goes_on_where_it_stopped(
    hub: HubServer, client: httpx.Client, tmp_path: Path, announce_length: bool
) -> None:
    hub.cut_after, hub.cuts, hub.announce_length = 500_000, 3, announce_length
    download(client, weights(hub, tmp_path), patience=TWICE)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY
    asked = [headers.get("range") for headers in hub.asked("/weights")]
    assert asked == [None, "bytes=500000-", "bytes=1000000-", "bytes=1500000-"]


def test_a_server_without_ranges_starts_over(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    hub.ranges, hub.cut_after, hub.cuts = False, 500_000, 1
    download(client, weights(hub, tmp_path), patience=TWICE)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY


def test_a_server_that_always_cuts_is_given_up_and_the_part_kept(
    hub: HubServer, client: httpx.Client, tmp_path: Path
) -> None:
    hub.ranges, hub.cut_after, hub.cuts = False, 500_000, 1000
    wanted = weights(hub, tmp_path)
    with pytest.raises(DownloadError, match="weights: .* what has arrived is kept"):
        download(client, wanted, patience=TWICE)
    assert wanted.part.stat().st_size == 500_000
    assert not wanted.destination.exists()


@pytest.mark.parametrize("old", [b"\xff" * 1000, b"\xff" * len(BODY), BODY + b"more"])
def test_a_foreign_part_is_replaced(hub: HubServer, client: httpx.Client, tmp_path: Path, old: bytes) -> None:
    wanted = weights(hub, tmp_path)
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(old)
    download(client, wanted)
    assert wanted.destination.read_bytes() == BODY


def test_wrong_content_never_takes_the_name(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    hub.files["/weights"] = BODY[:-1] + b"\0"
    wanted = weights(hub, tmp_path)
    with pytest.raises(DownloadError, match=f"wrong content.*expected {wanted.sha256}"):
        download(client, wanted)
    assert not list((tmp_path / "sub").iterdir())


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"!"])
def test_a_file_of_another_size_is_refused_before_it_is_fetched(
    hub: HubServer, client: httpx.Client, tmp_path: Path, body: bytes
) -> None:
    hub.files["/weights"] = body
    with pytest.raises(DownloadError, match=f"{len(body)} bytes, expected {len(BODY)}"):
        download(client, weights(hub, tmp_path))
    assert not (tmp_path / "sub").exists()


def test_an_endless_body_is_stopped_at_the_expected_size(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    hub.files["/weights"], hub.announce_length = BODY * 4, False
    with pytest.raises(DownloadError, match="more bytes than"):
        download(client, weights(hub, tmp_path))
    assert weights(hub, tmp_path).part.stat().st_size <= len(BODY)


def test_nothing_there_is_said_at_once(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"weights: nothing at .*/absent \(404\)"):
        download(client, weights(hub, tmp_path, path="/absent"))
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_token(hub: HubServer, client: httpx.Client, tmp_path: Path, status: int) -> None:
    hub.statuses = [status]
    with pytest.raises(DownloadError, match=f"status {status}.*HF_TOKEN"):
        download(client, weights(hub, tmp_path))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(hub: HubServer, client: httpx.Client, tmp_path: Path, status: int) -> None:
    hub.statuses = [status, status]
    download(client, weights(hub, tmp_path), patience=TWICE)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY


def test_a_server_that_stays_busy_is_given_up(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    hub.statuses = [503] * 10
    with pytest.raises(DownloadError, match="status 503"):
        download(client, weights(hub, tmp_path), patience=TWICE)
    assert len(hub.requests) == 3


def test_no_network(client: httpx.Client, tmp_path: Path) -> None:
    gone = HubServer(url="http://127.0.0.1:1")
    with pytest.raises(DownloadError, match="127.0.0.1:1"):
        download(client, weights(gone, tmp_path), patience=TWICE)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "no scheme"])
def test_an_address_that_is_none(client: httpx.Client, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="cannot fetch"):
        download(client, weights(HubServer(url=url), tmp_path))


def test_redirects_are_followed_and_the_token_stays_home(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    with serve(HubServer(files={"/blob": BODY})) as storage:
        hub.redirects["/weights"] = f"{storage.url}/blob"
        client.headers["Authorization"] = "Bearer secret"
        download(client, weights(hub, tmp_path))
        assert hub.asked("/weights")[0]["authorization"] == "Bearer secret"
        assert "authorization" not in storage.asked("/blob")[0]


def test_a_redirect_loop_is_an_error(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    hub.redirects["/weights"] = "/weights"
    with pytest.raises(DownloadError, match="cannot fetch"):
        download(client, weights(hub, tmp_path))


def test_a_full_disk_is_named_and_what_arrived_is_kept(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    wanted = weights(hub, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*weights\.part"):
            download(client, wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert wanted.part.stat().st_size == 1_500_000
    download(client, wanted)
    assert wanted.destination.read_bytes() == BODY


def test_a_folder_that_is_a_file(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "sub").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        download(client, weights(hub, tmp_path))


def test_an_interrupt_keeps_the_part(hub: HubServer, client: httpx.Client, tmp_path: Path) -> None:
    def stop(progress: TransferProgress) -> None:
        if progress.done >= len(BODY) // 2:
            raise KeyboardInterrupt

    wanted = weights(hub, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        download(client, wanted, stop)
    kept = wanted.part.stat().st_size
    assert len(BODY) // 2 <= kept < len(BODY)
    download(client, wanted)
    assert hub.asked("/weights")[-1]["range"] == f"bytes={kept}-"
    assert wanted.destination.read_bytes() == BODY


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=4096), present=st.integers(0, 4096), cut=st.integers(1, 4096), ranges=st.booleans())
def test_whatever_is_there_and_wherever_it_is_cut_the_file_is_whole(
    hub: HubServer, client: httpx.Client, tmp_path: Path, body: bytes, present: int, cut: int, ranges: bool
) -> None:
    hub.files["/weights"], hub.ranges, hub.cut_after, hub.cuts = body, ranges, cut, 2
    wanted = weights(hub, tmp_path, body)
    wanted.part.parent.mkdir(exist_ok=True)
    wanted.part.write_bytes(body[:present])
    download(client, wanted, patience=(0.0, 0.0, 0.0))
    assert wanted.destination.read_bytes() == body
    assert not wanted.part.exists()
