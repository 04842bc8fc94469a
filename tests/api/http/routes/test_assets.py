"""Uploads: audio is accepted; everything else is refused and leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import socket
import struct
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.value_file import encode_value
from acestep_flows.values import Latents
from tests.api.door import Door, opened, sound
from tests.audio.files import DOOR_CASES


def unfinished(door: Door) -> list[Path]:
    return list((door.home.root / "artifacts" / "unfinished").glob("*"))


@pytest.mark.parametrize(
    ("format", "content_type"),
    [("WAV", "audio/wav"), ("FLAC", "audio/flac"), ("OGG", "audio/ogg"), ("MP3", "audio/mpeg")],
)
def test_uploaded_audio_becomes_an_asset(door: Door, format: str, content_type: str) -> None:
    content = sound(format=format)
    response = door.upload(content, "my song.bin")
    assert response.status_code == 201, response.text
    asset = response.json()
    assert (asset["kind"], asset["content_type"], asset["bytes"]) == ("audio", content_type, len(content))
    assert asset["details"]["seconds"] == pytest.approx(1, abs=0.1)
    assert asset["run"] is None
    assert door.client.get(f"/v1/assets/{asset['id']}").json() == asset
    got = door.client.get(asset["url"])
    assert (got.content, got.headers["content-type"]) == (content, content_type)
    assert got.headers["x-content-type-options"] == "nosniff"
    assert door.client.get(asset["url"], headers={"Range": "bytes=0-3"}).content == content[:4]


def test_an_upload_is_the_input_of_a_run(door: Door) -> None:
    asset = door.upload(sound()).json()["id"]
    run = door.finished("audio2audio", {"reference": asset, "tags": "x", "steps": 1})
    assert run["inputs"]["reference"] == {"asset": asset}


@pytest.mark.parametrize("name", DOOR_CASES)
def test_files_as_people_have_them(door: Door, name: str) -> None:
    case = DOOR_CASES[name]
    response = door.upload(case.content)
    if case.refusal:
        assert response.status_code == 422
        assert re.match(f"upload: {case.refusal}", response.json()["error"]["message"])
        assert not unfinished(door)
        return
    details = response.json()["details"]
    assert (details["seconds"], details["sample_rate"], details["channels"]) == (1.0, 48_000, 2)
    assert bool(case.note) == ("notes" in details)
    inputs = {"reference": response.json()["id"], "tags": "x", "steps": 1}
    told = [warning for warning in door.finished("audio2audio", inputs)["warnings"] if "input" in warning]
    planned = door.client.post("/v1/graphs/audio2audio/plan", json={"inputs": inputs}).json()["warnings"]
    assert len(told) == bool(case.note)
    assert told == [warning for warning in planned if "input" in warning]
    assert all(re.match(f"input reference: {case.note}", warning) for warning in told)


def bombs() -> dict[str, bytes]:
    wav = sound(0.1)
    hours = bytearray(wav)
    hours[40:44] = struct.pack("<I", 0x70000000)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("song.wav", b"\0" * 10_000_000)
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros((8000 * 700, 1), np.float32), 8000, format="FLAC")
    flac = bytearray(sound(1, format="FLAC"))
    # STREAMINFO: the low 36 bits after rate, channels and depth are the number of samples: ten hours.
    flac[21] |= 0x0F
    flac[22:26] = struct.pack(">I", 0x5EBE7F00)
    return {
        "text": b"hello",
        "html": b"<html><script>alert(1)</script></html>",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "executable": b"\x7fELF" + bytes(1000),
        "zip": archive.getvalue(),
        "gzip": gzip.compress(b"\0" * 10_000_000),
        "cut wav": wav[: len(wav) // 2],
        "cut flac": sound(1, format="FLAC")[:3000],
        "header only": wav[:44],
        "declared long": bytes(hours),
        "ten hours of flac": bytes(flac),
        "too long": silence.getvalue(),
        "nan": _nan(),
        "noise": os.urandom(5000),
    }


def _nan() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full((100, 1), np.nan, np.float32), 44_100, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_damaged_audio_is_refused(door: Door) -> None:
    for name, content in bombs().items():
        response = door.upload(content)
        assert response.status_code == 422, (name, response.text)
        message = response.json()["error"]["message"]
        assert message.startswith("upload: "), (name, message)
        assert str(door.home.root) not in message
        digest = hashlib.sha256(content).hexdigest()
        assert not list(door.home.root.rglob(digest)), f"{name} is kept"
    assert not unfinished(door)


def test_too_many_streams_are_refused(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        whole = door.home.artifacts
        object.__setattr__(
            door.home, "artifacts", Artifacts(door.home.database, tmp_path / "few", most_unfinished=1000)
        )
        response = door.upload(sound())
        assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
        assert int(response.headers["retry-after"]) > 0
        object.__setattr__(door.home, "artifacts", whole)
        assert door.upload(sound()).status_code == 201


def test_an_empty_upload_is_refused(door: Door) -> None:
    assert door.upload(b"").status_code == 422


def test_decompression_bombs_are_refused_by_their_declared_size(strict: Checkpoint, tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((8000 * 400, 2), np.float32), 8000, format="FLAC")
    with opened(tmp_path, strict, options=ApiOptions(upload_decoded_bytes=1 << 20), executing=False) as door:
        response = door.upload(file.getvalue())
        assert response.status_code == 422
        assert "decoded" in response.json()["error"]["message"]


def test_uploads_have_a_size(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(upload_bytes=50_000), executing=False) as door:
        assert door.upload(sound(0.2)).status_code == 201
        response = door.upload(sound(2))
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
        pieces = (sound(2)[i : i + 1000] for i in range(0, 200_000, 1000))
        response = door.client.post("/v1/assets", content=pieces)
        assert response.status_code == 413
        assert not unfinished(door)


@pytest.mark.parametrize(
    ("file_name", "safe_name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\song.wav", "song.wav"),
        ("/etc/cron.d/x", "x"),
        ("..", "upload.wav"),
        ("a\x1b[31mred\r\nSet-Cookie: x", "a[31mredSet-Cookie: x"),
        ("Lied \u00fc\u4f60.wav", "Lied \u00fc\u4f60.wav"),
        ('"; x="', '"; x="'),
        ("\U0001f3b5" * 250 + ".wav", "\U0001f3b5" * 59 + ".wav"),
        ("a" * 255, "a" * 240),
        ("a." + "b" * 250, "a." + "b" * 238),
        (".", "upload.wav"),
    ],
)
def test_file_names_of_uploads_are_made_safe(door: Door, file_name: str, safe_name: str) -> None:
    asset = door.upload(sound(0.1), file_name).json()
    assert asset["file_name"] == safe_name
    response = door.client.get(asset["url"])
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert "\n" not in response.headers["content-disposition"]


@pytest.mark.parametrize("id", [f"asset-{'0' * 26}", "nothing", "..%2F..%2Fetc%2Fpasswd", "%00", "a" * 5000])
def test_unknown_assets(door: Door, id: str) -> None:
    for path in ("", "/content"):
        assert door.client.get(f"/v1/assets/{id}{path}").status_code in (404, 422)


def test_a_client_that_drops_in_the_middle_leaves_nothing(door: Door) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    head = f"POST /v1/assets HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 10000000\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + b"x" * 2_000_000)
        end = time.monotonic() + 10
        while not unfinished(door):
            assert time.monotonic() < end
            time.sleep(0.01)
    while unfinished(door):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert door.client.get("/healthz").status_code == 200


def test_assets_and_runs_belong_to_their_key(strict: Checkpoint, tmp_path: Path) -> None:
    (first_key, first), (second_key, second) = new_key("one"), new_key("two")
    with opened(
        tmp_path, strict, keys=Keyring([first, second]), headers={"Authorization": f"Bearer {first_key}"}
    ) as door:
        other = {"X-API-Key": second_key}
        asset = door.upload(sound(0.2)).json()
        run = door.finished("audio2audio", {"reference": asset["id"], "tags": "x", "steps": 1})
        client = door.client
        client.headers.pop("Authorization")
        for url in (asset["url"], f"/v1/assets/{asset['id']}", run["links"]["self"], run["outputs"]["audio"]["url"]):
            assert client.get(url, headers=other).status_code == 404
            assert client.get(url).status_code == 401
        assert client.delete(run["links"]["self"], headers=other).status_code == 404
        assert client.get(run["links"]["events"], headers=other).status_code == 404
        assert client.get("/v1/runs", headers=other).json()["runs"] == []
        for named in (asset["id"], run["outputs"]["audio"]["asset"]):
            body = {"graph": "audio2audio", "inputs": {"reference": named, "tags": "x"}}
            assert client.post("/v1/runs", json=body, headers=other).status_code == 404


def form(content: bytes, name: str = "song.wav", field: str = "file", **fields: str) -> dict[str, Any]:
    """Arguments of a request with a form."""
    return {"files": {field: (name, content)}, "data": fields}


@pytest.mark.parametrize("field", ["file", "audio"])
def test_a_form_uploads_a_file_as_it_is(door: Door, field: str) -> None:
    content = sound(0.5)
    response = door.client.post("/v1/assets", **form(content, "\u00fcber.wav", field))
    assert response.status_code == 201, response.text
    asset = response.json()
    assert (asset["file_name"], asset["bytes"], asset["content_type"]) == ("\u00fcber.wav", len(content), "audio/wav")
    assert door.client.get(asset["url"]).content == content
    raw = door.upload(content).json()
    assert raw["sha256"] == asset["sha256"]


def test_a_form_may_name_the_file(door: Door) -> None:
    content = sound(0.1)
    for fields, params, name in (({"file_name": "b.wav"}, {}, "b.wav"), ({"file_name": "b"}, {"file_name": "c"}, "c")):
        response = door.client.post("/v1/assets", params=params, **form(content, "a.wav", **fields))
        assert response.json()["file_name"] == name


def test_curl_uploads_by_form_and_by_raw_body(door: Door, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(sound(0.3))
    curl = ["curl", "-s", f"{door.url}/v1/assets"]
    assets = []
    for options in (["-F", "file=@song.wav"], ["--data-binary", "@song.wav"], ["-T", "song.wav", "-X", "POST"]):
        done = subprocess.run([*curl, *options], cwd=tmp_path, capture_output=True, check=True)
        assets.append(json.loads(done.stdout))
    assert len({asset["sha256"] for asset in assets}) == 1
    assert [asset["file_name"] for asset in assets] == ["song.wav", "upload.wav", "upload.wav"]


def damaged_forms() -> dict[str, tuple[dict[str, str], bytes]]:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    field = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nsong.wav'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    return {
        "no boundary": ({"Content-Type": "multipart/form-data"}, head),
        "long boundary": ({"Content-Type": f"multipart/form-data; boundary={'b' * 300}"}, head),
        "no part": (kind, b"--b--\r\n"),
        "nothing": (kind, b""),
        "another boundary": (kind, b"--c\r\n\r\nx\r\n--c--"),
        "no end": (kind, head + sound(0.1)),
        "no file": (kind, field + b"\r\n--b--\r\n"),
        "two files": (kind, head + b"1\r\n" + head + b"2\r\n--b--\r\n"),
        "endless header": (kind, b"--b\r\n" + b"x" * 1_000_000),
        "no headers": (kind, b"--b\r\n\r\nx\r\n--b--\r\n"),
        "endless name": (kind, field.replace(b'"file"', b'"file_name"') + b"x" * 100_000 + b"\r\n--b--\r\n"),
        "many names": (kind, (field.replace(b'"file"', b'"file_name"') + b"\r\n") * 20 + b"\r\n--b--\r\n"),
        "bytes": (kind, os.urandom(100_000)),
    }


def test_damaged_forms_are_refused(door: Door) -> None:
    for name, (headers, content) in damaged_forms().items():
        response = door.client.post("/v1/assets", content=content, headers=headers)
        assert response.status_code == 422, (name, response.text)
        error = response.json()["error"]
        assert error["field"] in ("body", "Content-Type", "file", "file_name"), (name, error)
        assert "curl -F file=@song.wav" in error["allowed"] or "bytes" in error["allowed"], (name, error)
    forgotten = door.client.post("/v1/assets", data={"file": "song.wav"}, files={"x": ("", b"")})
    assert forgotten.status_code == 422
    assert not unfinished(door)


def test_forms_have_the_size_of_other_uploads_and_are_not_held_in_memory(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(upload_bytes=200_000), executing=False) as door:
        assert door.client.post("/v1/assets", **form(sound(0.5))).status_code == 201
        response = door.client.post("/v1/assets", **form(sound(3)))
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        pieces = (head, *(b"x" * 10_000 for _ in range(50)))
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert door.client.post("/v1/assets", content=iter(pieces), headers=headers).status_code == 413
        assert not unfinished(door)


def test_the_url_of_an_asset_is_an_input(door: Door) -> None:
    asset = door.upload(sound(0.5)).json()
    prefix = f"{door.url}/music{asset['url']}"
    for name in (
        asset["url"],
        door.url + asset["url"],
        prefix,
        asset["url"].removesuffix("/content"),
        prefix + "?key=1",
    ):
        for value in (name, {"asset": name}):
            run = door.submit("audio2audio", {"reference": value, "tags": "x", "steps": 1})
            assert run["inputs"]["reference"] == {"asset": asset["id"]}
            door.client.delete(run["links"]["self"])
    for wrong in (asset["url"] + "x", f"file://{asset['url']}", "http://[/v1/assets/", asset["url"].replace("0", "g")):
        body = {"graph": "audio2audio", "inputs": {"reference": wrong, "tags": "x"}}
        response = door.client.post("/v1/runs", json=body)
        assert response.status_code == 404, wrong
        assert "ids look like asset-" in response.json()["error"]["message"]


def test_whoever_names_music_by_other_means_is_told_how(waiting: Door) -> None:
    run = f"run-{'0' * 26}"
    output = f"its field asset in GET /v1/runs/{run}"
    for wrong, way in (
        ("https://example.org/song.wav", "POST /v1/assets takes a file"),
        (f"{run}/audio", output),
        (f"{waiting.url}/v1/runs/{run}/outputs/audio", output),
    ):
        body = {"graph": "audio2audio", "inputs": {"reference": wrong, "tags": "x"}}
        error = waiting.client.post("/v1/runs", json=body).json()["error"]
        assert (error["code"], error["field"]) == ("not_found", "reference")
        for door in (way, "in Python give", "to submit NAME="):
            assert door in error["message"]
            assert door in error["allowed"]


def test_an_empty_file_blames_the_field_that_it_came_in(waiting: Door) -> None:
    for more, field in (({"files": {"file": ("null", b"")}}, "file"), ({"content": b""}, "body")):
        response = waiting.client.post("/v1/assets", **more)
        error = response.json()["error"]
        assert (response.status_code, error["field"]) == (422, field)
        assert error["message"].startswith(f"{field}: empty")


def latents_file(frames: int = 12, **changes: Any) -> bytes:
    """A file of latents, as outputs of runs are."""
    array = np.random.default_rng(5).normal(size=(8, 16, frames)).astype(np.float32)
    if not changes:
        return encode_value(Latents(array))
    return bytes(save({"array": array} | changes, {"kind": "latents", "fields": "{}"}))


def test_latents_are_uploaded_and_decoded(door: Door) -> None:
    content = latents_file()
    for response in (door.upload(content, "take.safetensors"), door.client.post("/v1/assets", **form(content))):
        asset = response.json()
        assert (response.status_code, asset["kind"], asset["bytes"]) == (201, "latents", len(content))
        assert asset["details"] == {"seconds": pytest.approx(12 * 4096 / 44100, abs=1e-3)}
        assert door.client.get(asset["url"]).content == content
    run = door.finished("decode", {"latents": asset["id"]})
    assert run["inputs"]["latents"] == {"asset": asset["id"]}
    repainted = door.submit("repaint", {"source": asset["url"], "tags": "x", "span": [0, 0.5], "steps": 1})
    assert repainted["inputs"]["source"] == {"asset": asset["id"]}
    refused = door.client.post("/v1/runs", json={"graph": "measure", "inputs": {"audio": asset["id"]}})
    assert refused.status_code in (404, 422)
    assert door.client.get(f"/v1/assets/{asset['id']}/peaks").status_code == 422


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((8, 15, 4), np.float32), "shape (8, 15, 4)"),
        (np.zeros((16, 4), np.float32), "shape (16, 4)"),
        (np.full((8, 16, 4), np.nan, np.float32), "NaN or infinity"),
        (np.zeros((8, 16, 0), np.float32), "array is empty"),
    ],
)
def test_latents_that_are_none_are_refused(door: Door, array: Any, problem: str) -> None:
    response = door.upload(latents_file(array=array), "take.safetensors")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (422, "invalid_input", "body")
    assert problem in error["message"]
    assert "/" not in error["message"].replace("NaN/", "")


def test_damaged_and_foreign_tensors_are_refused(door: Door) -> None:
    content, weights = latents_file(), save({"weight": np.zeros((2, 2), np.float32)})
    for wrong in (content[:-5], content + b"x", weights, content.replace(b'"latents"', b'"mel_img"')):
        response = door.upload(wrong, "take.safetensors")
        assert response.status_code == 422, response.text
        assert response.json()["error"]["message"].startswith("take.safetensors: ")


def test_long_latents_are_refused(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(upload_seconds=1), executing=False) as door:
        response = door.upload(latents_file(12), "take.safetensors")
        assert response.status_code == 422
        assert response.json()["error"]["message"] == "take.safetensors: 1.1 s of latents (allowed: at most 1 s)"


def test_a_url_of_another_server_is_no_asset_of_this_one(strict: Checkpoint, tmp_path: Path) -> None:
    """Also where the id exists here. Ours are the host of the request, the public address, and paths."""
    options = ApiOptions(public_url="https://music.example.org/songs")
    with opened(tmp_path, strict, options=options, executing=False) as door:
        asset = door.upload(sound(0.5)).json()
        path, bare = asset["url"], asset["url"].removeprefix("/songs")
        own = (path, bare, f"https://music.example.org{path}", f"HTTPS://Music.Example.org:443{path}", door.url + bare)
        for url in own:
            assert door.submit("audio2audio", {"reference": url, "tags": "x"})["inputs"]["reference"] == {
                "asset": asset["id"]
            }
        for url in (f"https://elsewhere.example{path}", f"http://music.example.org.evil{bare}", f"http://x@y{bare}"):
            for value in (url, {"asset": url}):
                body = {"graph": "audio2audio", "inputs": {"reference": value, "tags": "x"}}
                for response in (
                    door.client.post("/v1/runs", json=body),
                    door.client.post("/v1/graphs/audio2audio/plan", json={"inputs": body["inputs"]}),
                ):
                    error = response.json()["error"]
                    assert (response.status_code, error["field"]) == (422, "reference")
                    assert error["message"].startswith("reference: the URL is of another server, ")
                    assert "music.example.org" in error["allowed"]
