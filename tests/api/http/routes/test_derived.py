"""What is made from stored files: other formats, peaks, and links that work without a key."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from acestep_flows.api.http import stored_file
from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.signed_links import LinkSigner
from acestep_flows.audio import convert, read, tags, write
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened, sound
from tests.api.http.routes.callers import TwoCallers, two_callers


@pytest.fixture(scope="module")
def callers(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCallers]:
    with two_callers(tmp_path_factory.mktemp("callers"), strict) as callers:
        yield callers


@pytest.fixture(scope="module")
def song(door: Door) -> dict[str, Any]:
    outputs: dict[str, Any] = door.finished()["outputs"]
    return outputs


@pytest.mark.parametrize(
    ("format", "content_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("ogg", "audio/ogg")]
)
def test_an_output_comes_in_another_format(door: Door, song: dict[str, Any], format: str, content_type: str) -> None:
    kept = door.client.get(song["audio"]["url"]).content
    answer = door.client.get(song["audio"]["url"], params={"format": format})
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert song["audio"]["file_name"].replace(".flac", f".{format}") in answer.headers["content-disposition"]
    assert tags.read(answer.content) == tags.read(kept)
    assert tags.read(answer.content).recipe["graph"]
    assert read.audio(answer.content).seconds == pytest.approx(read.audio(kept).seconds, abs=0.06)
    if format == "wav":
        assert np.array_equal(read.audio(answer.content).samples, read.audio(kept).samples)


def test_the_kept_format_is_the_kept_file(door: Door, song: dict[str, Any]) -> None:
    kept, same = (door.client.get(song["audio"]["url"], params=query) for query in ({}, {"format": "flac"}))
    assert same.content == kept.content
    assert same.headers["etag"] == kept.headers["etag"]


def test_what_was_changed_to_fit_a_format_is_told_to_all_who_ask(door: Door) -> None:
    loud = io.BytesIO()
    soundfile.write(loud, 1.5 * np.sin(np.linspace(0, 2_000, 24_000)), 48_000, format="WAV", subtype="FLOAT")
    asset = door.upload(loud.getvalue()).json()["id"]
    url = door.client.post(f"/v1/assets/{asset}/link", json={}).json()["url"]
    for _ in range(2):
        answer = door.client.get(url, params={"format": "mp3"})
        assert answer.status_code == 200
        assert "3.5 dB over full scale" in answer.headers["X-Warnings"]
    quiet = door.upload(sound(0.3)).json()["id"]
    url = door.client.post(f"/v1/assets/{quiet}/link", json={}).json()["url"]
    assert "X-Warnings" not in door.client.get(url, params={"format": "mp3"}).headers


def test_a_format_is_made_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Players ask for ranges, several at once; each song is encoded once, and a few at a time."""
    made, running, most = 0, 0, 0
    encode = convert.convert

    def counted(path: Path, format: str) -> write.Encoded:
        nonlocal made, running, most
        made, running = made + 1, running + 1
        most = max(most, running)
        time.sleep(0.2)
        try:
            return encode(path, format)
        finally:
            running -= 1

    monkeypatch.setattr(convert, "convert", counted)
    uploads = [door.upload(sound(0.2 + number / 10)).json()["id"] for number in range(4)]
    urls = [door.client.post(f"/v1/assets/{id}/link", json={}).json()["url"] for id in uploads]

    def part(url: str) -> int:
        return door.client.get(url, params={"format": "ogg"}, headers={"Range": "bytes=0-9"}).status_code

    begun = time.monotonic()
    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(part, urls * 3)) == {206}
        assert door.client.get("/healthz").status_code == 200
    assert time.monotonic() - begun < 30
    assert (made, most) == (4, stored_file.MOST_AT_ONCE)


def test_only_audio_has_formats(door: Door, song: dict[str, Any]) -> None:
    answer = door.client.get(song["latents"]["url"], params={"format": "mp3"})
    assert answer.status_code == 422
    assert "latents" in answer.json()["error"]["message"]
    assert door.client.get(song["audio"]["url"], params={"format": "wma"}).status_code == 422
    assert door.client.get(f"{song['latents']['url']}/peaks").status_code == 422


def test_a_file_is_shown_or_saved(door: Door, song: dict[str, Any]) -> None:
    for query, expected in (({}, "attachment; "), ({"disposition": "inline"}, "inline; ")):
        answer = door.client.get(song["audio"]["url"], params=query)
        assert answer.headers["content-disposition"].startswith(expected)
    assert door.client.get(song["audio"]["url"], params={"disposition": "other"}).status_code == 422


def test_peaks_draw_the_waveform(door: Door, song: dict[str, Any]) -> None:
    answer = door.client.get(f"{song['audio']['url']}/peaks", params={"per_second": 100})
    assert answer.status_code == 200
    drawn = answer.json()
    audio = read.audio(door.client.get(song["audio"]["url"]).content)
    assert drawn["per_second"] == 100
    assert len(drawn["peaks"]) == 2 * int(np.ceil(audio.samples.shape[1] * 100 / audio.sample_rate))
    assert max(drawn["peaks"][1::2]) == round(float(audio.samples.max()) * 127)
    assert min(drawn["peaks"][::2]) == round(float(audio.samples.min()) * 127)
    tag = answer.headers["etag"]
    assert door.client.get(answer.url, headers={"If-None-Match": tag}).status_code == 304
    assert door.client.get(f"/v1/assets/{song['audio']['asset']}/peaks?per_second=100").json() == drawn
    for wrong in (0, 201, "many"):
        assert door.client.get(answer.url, params={"per_second": wrong}).status_code == 422


def test_a_link_may_lead_into_the_store_itself(strict: Checkpoint, tmp_path: Path) -> None:
    for allowed in (False, True):
        with opened(tmp_path / f"{allowed}", strict, executing=False, options=ApiOptions(direct_links=allowed)) as door:
            asset = door.upload(sound(0.1)).json()["id"]
            store: Any = door.home.artifacts
            place = "s3://KEY:marked-secret@songs/home?endpoint_override=store.example.org"
            store._signer, store._root = LinkSigner(place, "eu-central-1"), "songs/home"
            direct = door.client.post(f"/v1/assets/{asset}/link", json={"seconds": 100}).json()["direct"]
            assert (direct is not None) == allowed
            if allowed:
                assert direct.startswith(
                    f"https://store.example.org/songs/home/{door.home.assets.get(asset).digest[:2]}/"
                )
                assert "marked-secret" not in direct


def test_a_link_works_without_a_key_until_it_expires(callers: TwoCallers, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = callers.door.finished()["outputs"]["audio"]
    link = callers.alice.post(f"{audio['url']}/link", json={"seconds": 100})
    assert link.status_code == 201
    url = link.json()["url"]
    assert url.startswith(f"{callers.door.url}/v1/links/")
    kept = callers.alice.get(audio["url"]).content
    assert callers.nobody.get(url).content == kept
    assert callers.nobody.get(url, headers={"Range": "bytes=0-3"}).content == kept[:4]
    assert callers.nobody.head(url).headers["content-length"] == str(len(kept))
    mp3 = callers.nobody.get(url, params={"format": "mp3", "disposition": "inline"})
    assert soundfile.info(io.BytesIO(mp3.content)).format == "MP3"
    token = url.rpartition("/")[2]
    asset, expires, signature = token.split(".")
    other = callers.door.upload(sound(0.1)).json()["id"]
    for forged in (f"{other}.{expires}.{signature}", f"{asset}.{int(expires) + 1}.{signature}",
                   f"{asset}.{expires}.{'0' * 64}", "x", f"{asset}.{expires}"):  # fmt: skip
        assert callers.nobody.get(f"/v1/links/{forged}").status_code == 404, forged
    now = time.time()
    monkeypatch.setattr("acestep_flows.api.http.file_links.time.time", lambda: now + 101)
    expired = callers.nobody.get(url)
    assert (expired.status_code, "expired" in expired.text) == (404, True)


def test_a_link_ends_with_its_file(callers: TwoCallers) -> None:
    upload = callers.door.upload(sound(0.1)).json()
    url = callers.alice.post(f"/v1/assets/{upload['id']}/link", json={}).json()["url"]
    assert callers.nobody.get(url).status_code == 200
    callers.alice.delete(f"/v1/assets/{upload['id']}")
    assert callers.nobody.get(url).status_code == 404


def test_a_link_ends_with_its_key(strict: Checkpoint, tmp_path: Path) -> None:
    (secret, key), (_, renewed), (_, other) = new_key("alice"), new_key("alice"), new_key("bob")
    with opened(tmp_path, strict, keys=Keyring([key]), headers={"X-API-Key": secret}, executing=False) as door:
        id = door.upload(sound(0.1)).json()["id"]
        path = door.client.post(f"/v1/assets/{id}/link", json={}).json()["url"].removeprefix(door.url)
        assert door.client.get(path).status_code == 200
    for keys, status in ((Keyring([other]), 404), (Keyring([renewed]), 404), (Keyring([key, other]), 200)):
        with opened(tmp_path, strict, keys=keys, executing=False) as door:
            assert door.client.get(path).status_code == status
