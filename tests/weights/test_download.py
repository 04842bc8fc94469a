"""Downloads of one file, from a real server on 127.0.0.1."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acestep_flows.errors import DownloadError, NotFound, StorageError
from acestep_flows.weights.download import Download, TransferProgress, download
from tests.hub_server import HubServer, serve

BODY = bytes(range(256)) * 8192  # 2 MiB
TWO_RETRIES = (0.0, 0.0)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serve(HubServer(files={"/weights": BODY})) as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(follow_redirects=True, timeout=5, trust_env=False) as client:
        yield client


def weights(hub: HubServer, folder: Path, body: bytes = BODY, path: str = "/weights") -> Download:
    return Download(hub.url + path, folder / "sub" / "weights", "weights", len(body), hashlib.sha256(body).hexdigest())


def test_a_file_is_downloaded_with_progress(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    events: list[TransferProgress] = []
    download(client, weights(hub, tmp_path), events.append)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["weights"]
    fetched = [progress.done for progress in events if progress.action == "download"]
    assert fetched == sorted(fetched)
    assert (fetched[0], fetched[-1]) == (0, len(BODY))
    assert {progress.total for progress in events} == {len(BODY)}
    assert events[-1] == TransferProgress("weights", "verify", len(BODY), len(BODY))


def test_a_part_is_continued(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    file = weights(hub, tmp_path)
    file.part.parent.mkdir()
    file.part.write_bytes(BODY[:1000])
    download(client, file)
    assert file.destination.read_bytes() == BODY
    assert hub.headers_of("/weights")[0]["range"] == "bytes=1000-"


def test_a_complete_part_is_only_verified(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    file = weights(hub, tmp_path)
    file.part.parent.mkdir()
    file.part.write_bytes(BODY)
    download(client, file)
    assert file.destination.read_bytes() == BODY
    assert not hub.requests


@pytest.mark.parametrize("announce_length", [True, False])
def test_an_interrupted_transfer_continues_where_it_stopped(
    hub: HubServer, client: httpx2.Client, tmp_path: Path, announce_length: bool
) -> None:
    hub.cut_after, hub.cuts, hub.announce_length = 500_000, 3, announce_length
    download(client, weights(hub, tmp_path), retry_delays=TWO_RETRIES)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY
    ranges = [headers.get("range") for headers in hub.headers_of("/weights")]
    assert ranges == [None, "bytes=500000-", "bytes=1000000-", "bytes=1500000-"]


def test_a_server_without_ranges_starts_over(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    hub.ranges, hub.cut_after, hub.cuts = False, 500_000, 1
    download(client, weights(hub, tmp_path), retry_delays=TWO_RETRIES)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY


def test_after_the_last_retry_the_part_is_kept(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    hub.ranges, hub.cut_after, hub.cuts = False, 500_000, 1000
    file = weights(hub, tmp_path)
    with pytest.raises(DownloadError, match="weights: .* received so far are kept"):
        download(client, file, retry_delays=TWO_RETRIES)
    assert file.part.stat().st_size == 500_000
    assert not file.destination.exists()


@pytest.mark.parametrize("old", [b"\xff" * 1000, b"\xff" * len(BODY), BODY + b"more"])
def test_a_part_of_another_file_is_replaced(hub: HubServer, client: httpx2.Client, tmp_path: Path, old: bytes) -> None:
    file = weights(hub, tmp_path)
    file.part.parent.mkdir()
    file.part.write_bytes(old)
    download(client, file)
    assert file.destination.read_bytes() == BODY


def test_wrong_content_never_reaches_the_destination(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    hub.files["/weights"] = BODY[:-1] + b"\0"
    file = weights(hub, tmp_path)
    with pytest.raises(DownloadError, match=f"wrong content.*expected {file.sha256}"):
        download(client, file)
    assert not list((tmp_path / "sub").iterdir())


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"!"])
def test_a_file_of_another_size_is_refused_before_it_is_fetched(
    hub: HubServer, client: httpx2.Client, tmp_path: Path, body: bytes
) -> None:
    hub.files["/weights"] = body
    with pytest.raises(DownloadError, match=f"{len(body)} bytes, expected {len(BODY)}"):
        download(client, weights(hub, tmp_path))
    assert not (tmp_path / "sub").exists()


def test_an_endless_body_is_stopped_at_the_expected_size(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    hub.files["/weights"], hub.announce_length = BODY * 4, False
    with pytest.raises(DownloadError, match="more bytes than"):
        download(client, weights(hub, tmp_path))
    assert weights(hub, tmp_path).part.stat().st_size <= len(BODY)


def test_a_missing_file_is_not_retried(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"weights: nothing at .*/absent \(404\)"):
        download(client, weights(hub, tmp_path, path="/absent"))
    assert len(hub.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_token(hub: HubServer, client: httpx2.Client, tmp_path: Path, status: int) -> None:
    hub.statuses = [status]
    with pytest.raises(DownloadError, match=f"status {status}.*HF_TOKEN"):
        download(client, weights(hub, tmp_path))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_retried(hub: HubServer, client: httpx2.Client, tmp_path: Path, status: int) -> None:
    hub.statuses = [status, status]
    download(client, weights(hub, tmp_path), retry_delays=TWO_RETRIES)
    assert (tmp_path / "sub" / "weights").read_bytes() == BODY


def test_a_server_that_stays_busy_is_an_error(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    hub.statuses = [503] * 10
    with pytest.raises(DownloadError, match="status 503"):
        download(client, weights(hub, tmp_path), retry_delays=TWO_RETRIES)
    assert len(hub.requests) == 3


def test_no_connection_is_an_error(client: httpx2.Client, tmp_path: Path) -> None:
    gone = HubServer(url="http://127.0.0.1:1")
    with pytest.raises(DownloadError, match="127.0.0.1:1"):
        download(client, weights(gone, tmp_path), retry_delays=TWO_RETRIES)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "no scheme"])
def test_an_invalid_address_is_an_error(client: httpx2.Client, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="cannot fetch"):
        download(client, weights(HubServer(url=url), tmp_path))


def test_redirects_are_followed_without_the_token(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    with serve(HubServer(files={"/blob": BODY})) as storage:
        hub.redirects["/weights"] = f"{storage.url}/blob"
        client.headers["Authorization"] = "Bearer secret"
        download(client, weights(hub, tmp_path))
        assert hub.headers_of("/weights")[0]["authorization"] == "Bearer secret"
        assert "authorization" not in storage.headers_of("/blob")[0]


def test_a_redirect_loop_is_an_error(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    hub.redirects["/weights"] = "/weights"
    with pytest.raises(DownloadError, match="cannot fetch"):
        download(client, weights(hub, tmp_path))


def test_a_full_disk_is_an_error_and_the_part_is_kept(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    file = weights(hub, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*weights\.part"):
            download(client, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.part.stat().st_size == 1_500_000
    download(client, file)
    assert file.destination.read_bytes() == BODY


def test_a_folder_that_is_a_file_is_an_error(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    (tmp_path / "sub").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        download(client, weights(hub, tmp_path))


def test_an_interrupt_keeps_the_part(hub: HubServer, client: httpx2.Client, tmp_path: Path) -> None:
    def stop(progress: TransferProgress) -> None:
        if progress.done >= len(BODY) // 2:
            raise KeyboardInterrupt

    file = weights(hub, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        download(client, file, stop)
    size = file.part.stat().st_size
    assert len(BODY) // 2 <= size < len(BODY)
    download(client, file)
    assert hub.headers_of("/weights")[-1]["range"] == f"bytes={size}-"
    assert file.destination.read_bytes() == BODY


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=4096), present=st.integers(0, 4096), cut=st.integers(1, 4096), ranges=st.booleans())
def test_any_part_and_any_interruption_give_the_complete_file(
    hub: HubServer, client: httpx2.Client, tmp_path: Path, body: bytes, present: int, cut: int, ranges: bool
) -> None:
    hub.files["/weights"], hub.ranges, hub.cut_after, hub.cuts = body, ranges, cut, 2
    file = weights(hub, tmp_path, body)
    file.part.parent.mkdir(exist_ok=True)
    file.part.write_bytes(body[:present])
    download(client, file, retry_delays=(0.0, 0.0, 0.0))
    assert file.destination.read_bytes() == body
    assert not file.part.exists()
