"""v1's REST on a server with acestep-nano: songs, errors, links, and callers who do not see each other."""

from __future__ import annotations

import io

import httpx2
import pytest
import soundfile

from tests.api.door import Door
from tests.compat.songs import KEYS, SECONDS, port_of, root_of
from tests.compat.v1.bodies import infer, trainer
from tests.served.server import Server


@pytest.fixture(scope="module")
def v1(door: Door) -> str:
    return root_of(door, "v1")


def test_it_is_healthy(door: Door, v1: str) -> None:
    assert door.client.get(f"{v1}/health").json() == {"status": "healthy"}


def test_infer_api_makes_a_song(door: Door, v1: str) -> None:
    answer = door.client.post(f"{v1}/generate", json=infer(output_path="/tmp/out/rain.flac")).json()
    assert answer["status"] == "success"
    assert answer["output_path"].startswith(f"{v1}/files/asset-")
    assert answer["output_path"].endswith("/rain.flac")
    assert any(line.startswith("output_path=") for line in answer["warnings"])
    file = door.client.get(answer["output_path"])
    assert file.headers["content-type"] == "audio/flac"
    assert soundfile.info(io.BytesIO(file.content)).duration == pytest.approx(SECONDS, abs=0.1)
    run = door.client.get(f"/v1/runs/{answer['run']}").json()
    assert run["inputs"]["seed"] == 7
    assert run["inputs"]["lyrics"] == "[verse]\nrain on the window"
    assert run["warnings"] == answer["warnings"]


def test_several_seeds_have_several_files(door: Door, v1: str) -> None:
    answer = door.client.post(f"{v1}/generate", json=infer(actual_seeds=[1, 2])).json()
    assert answer["output_path"] == answer["output_paths"][0]
    first, second = (door.client.get(url).content for url in answer["output_paths"])
    assert first != second


def test_trainer_api_makes_a_song(door: Door, v1: str) -> None:
    answer = door.client.post(f"{v1}/generate", json=trainer(duration=SECONDS, seed=5)).json()
    assert (answer["prompt"], answer["seed"], answer["sample_rate"]) == ("lofi, piano", 5, 48_000)
    assert door.client.get(answer["audio_path"]).headers["content-type"] == "audio/wav"


def test_a_file_has_ranges_and_a_tag(door: Door, v1: str) -> None:
    url = door.client.post(f"{v1}/generate", json=trainer(duration=SECONDS, seed=5)).json()["audio_path"]
    whole = door.client.get(url)
    part = door.client.get(url, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, whole.content[:4])
    assert door.client.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert door.client.head(url).headers["content-length"] == str(len(whole.content))


def test_faults_are_listed_as_fastapi_does(door: Door, v1: str) -> None:
    answer = door.client.post(f"{v1}/generate", json=infer(infer_step=0, cfg_type="none"))
    assert answer.status_code == 422
    assert [fault["loc"] for fault in answer.json()["detail"]] == [["body", "infer_step"], ["body", "cfg_type"]]
    assert answer.json()["detail"][0]["input"] == 0


def test_missing_fields_say_what_they_may_be(door: Door, v1: str) -> None:
    body = infer()
    for name in ("infer_step", "scheduler_type", "actual_seeds"):
        del body[name]
    faults = door.client.post(f"{v1}/generate", json=body).json()["detail"]
    assert [(fault["type"], fault["msg"].partition(";")[0]) for fault in faults] == [
        ("missing", "missing (allowed: a whole number from 1 to 200)"),
        ("missing", "missing (allowed: euler, heun, pingpong)"),
        ("missing", "missing (allowed: whole numbers up to 4294967295, at most 64"),
    ]


def test_a_body_that_is_no_json_says_where(door: Door, v1: str) -> None:
    answer = door.client.post(f"{v1}/generate", content=b'{"prompt": "rain",\n "lyrics": }').json()
    assert answer["detail"][0]["msg"] == "not JSON at line 2: expecting value (allowed: a JSON object, or a form)"


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"{", b"{" * 100_000, b'"x"', b"\xff\xfe", b'{"prompt": "a", "prompt": "b"}', b'{"lyrics": NaN}'],
)
def test_what_is_no_body_is_refused(door: Door, v1: str, content: bytes) -> None:
    assert door.client.post(f"{v1}/generate", content=content).status_code == 422


def test_the_body_may_come_under_any_type(door: Door, v1: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/problem+json"):
        answer = door.client.post(f"{v1}/generate", content=b'{"infer_steps": 0}', headers={"Content-Type": kind})
        assert [fault["loc"][1] for fault in answer.json()["detail"]] == ["prompt", "infer_steps"]


def test_unknown_paths_and_methods_have_the_form_of_the_family(door: Door, v1: str) -> None:
    assert door.client.get(f"{v1}/nothing").json() == {"detail": "nothing at /compat/v1/nothing"}
    assert door.client.get(f"{v1}/generate").status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEYS['alice']}"},
        {"Authorization": f"Token {KEYS['alice']}"},
        {"Authorization": f"key {KEYS['alice']}"},
        {"Authorization": KEYS["alice"]},
        {"X-API-Key": KEYS["alice"]},
    ],
)
def test_a_key_comes_in_any_form(keyed: Door, headers: dict[str, str]) -> None:
    answer = keyed.client.post(f"{root_of(keyed, 'v1')}/generate", json={}, headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
def test_no_song_without_a_key(keyed: Door, headers: dict[str, str]) -> None:
    answer = keyed.client.post(f"{root_of(keyed, 'v1')}/generate", json=infer(), headers=headers)
    assert answer.status_code == 401
    assert isinstance(answer.json()["detail"], str)
    assert keyed.client.get(f"{root_of(keyed, 'v1')}/health").status_code == 200


def test_a_link_works_without_a_key_and_only_as_it_is(keyed: Door) -> None:
    alice, bob = ({"Authorization": f"Bearer {key}"} for key in KEYS.values())
    made = keyed.client.post(f"{root_of(keyed, 'v1')}/generate", json=trainer(duration=SECONDS), headers=alice)
    url = made.json()["audio_path"]
    assert keyed.client.get(url).status_code == 200
    bare, _, sig = url.partition("?sig=")
    assert keyed.client.get(bare).status_code == 401
    assert keyed.client.get(bare, headers=alice).status_code == 200
    assert keyed.client.get(bare, headers=bob).status_code == 404
    end, _, signature = sig.partition(".")
    for wrong in (f"{int(end) + 1}.{signature}", f"{end}.{'0' * 64}", "", "x", f"1.{signature}"):
        assert keyed.client.get(f"{bare}?sig={wrong}").status_code == 404
    assert keyed.client.get(f"/v1/runs/{made.json()['run']}", headers=bob).status_code == 404


def test_a_port_of_its_own_has_the_family_at_its_root(server: Server) -> None:
    root = port_of(server, "v1")
    assert httpx2.get(f"{root}/health").json() == {"status": "healthy"}
    assert httpx2.get(f"{root_of(server, 'v1')}/health").status_code == 200
    assert httpx2.get(f"{root}/v1/graphs").status_code == 404
    answer = httpx2.post(f"{root}/generate", json=trainer(duration=SECONDS), timeout=120).json()
    assert answer["audio_path"].startswith(f"{root}/files/")
    assert httpx2.get(answer["audio_path"]).status_code == 200
