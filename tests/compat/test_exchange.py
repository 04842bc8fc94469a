"""What every family may ask of the server, by a family made for these tests."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter
from starlette.responses import JSONResponse

from acestep_flows.compat.exchange import TheExchange, TheGuest
from acestep_flows.compat.family import Family
from acestep_flows.compat.fields import FieldRow, settle_seeds, translate
from acestep_flows.compat.mount import family_app
from acestep_flows.compat.parsing import integer, number, seeds, text
from acestep_flows.compat.phases import Phase, phase_of
from tests.api.door import Door, sound
from tests.compat.songs import KEYS, SECONDS, STEPS, own_song

router = APIRouter()
TABLE = (
    FieldRow("words", text(), "tags", required=True),
    FieldRow("seconds", number(0.1), "duration"),
    FieldRow("rounds", integer(), "steps"),
    FieldRow("draws", seeds(), lambda draft, found: settle_seeds(draft, found, "draws")),
)


@router.post("/audio")
async def take_audio(exchange: TheGuest) -> dict[str, Any]:
    body = await exchange.read_body()
    exchange.identify(body.fields.pop("ai_token", None))
    value = body.files["source"][0] if "source" in body.files else body.fields.get("source")
    asset = await exchange.asset(await exchange.audio(value, "source"))
    return {"id": asset.id, "sha256": asset.digest, "name": asset.file_name, "fields": body.fields}


@router.post("/songs")
async def make(exchange: TheExchange, wait: bool = True) -> dict[str, Any]:
    draft = translate(TABLE, (await exchange.read_body()).fields, await exchange.draft(strict=True))
    record = await exchange.submit(draft, webhook=exchange.request.query_params.get("webhook"))
    if wait:
        record = await exchange.wait_or_fail(record)
    takes = await exchange.takes(record)
    return {"id": record.id, "seeds": [take.seed for take in takes], "urls": [take.url for take in takes]}


@router.post("/near")
async def make_near(exchange: TheExchange) -> dict[str, Any]:
    """A song near audio that came with the request, with steps that are drawn."""
    body = await exchange.read_body()
    draft = await exchange.draft("audio2audio")
    draft.put("tags", "lofi")
    draft.put("steps", random.randint(1, 200))
    value = body.files["source"][0] if "source" in body.files else body.fields["source"]
    draft.put("reference", await exchange.audio(value, "source"), "source")
    record = await exchange.submit(draft)
    await exchange.cancel(record)
    return {"id": record.id}


@router.get("/songs/{id}")
async def show(id: str, exchange: TheExchange) -> dict[str, Any]:
    record = await exchange.run(id)
    progress = await exchange.progress(record)
    return {
        "phase": phase_of(record),
        "fraction": progress.fraction,
        "position": progress.position,
        "at": progress.node,
    }


@router.post("/songs/{id}/cancel")
async def cancel(id: str, exchange: TheExchange) -> dict[str, Any]:
    return {"phase": phase_of(await exchange.cancel(await exchange.run(id)))}


@router.get("/songs/{id}/follow")
async def follow(id: str, exchange: TheExchange) -> list[str]:
    return [phase_of(record) async for record in exchange.follow(await exchange.run(id))]


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError("/home/secret")


TOY = Family(
    "toy",
    "a family for tests",
    router,
    lambda request, error: JSONResponse(
        {"field": error.field, "allowed": error.allowed, "message": error.message, "run": error.run}, error.status
    ),
)


def mounted(door: Door) -> str:
    if not any(getattr(route, "path", "") == "/compat/toy" for route in door.app.routes):
        door.app.mount("/compat/toy", family_app(TOY, door.app))
    return f"{door.url}/compat/toy"


@pytest.fixture
def toy(door: Door) -> str:
    return mounted(door)


@pytest.fixture
def keyed_toy(keyed: Door) -> str:
    return mounted(keyed)


SONG = {"words": "lofi", "seconds": SECONDS, "rounds": STEPS, "draws": 7}
LONG = {"words": "lofi", "seconds": 60, "rounds": 200}


def sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("seconds", [0.1, 2.0])
@pytest.mark.parametrize("prefix", ["", "data:audio/wav;base64,"])
def test_audio_comes_as_base64(door: Door, toy: str, seconds: float, prefix: str) -> None:
    content = sound(seconds)
    source = prefix + base64.b64encode(content).decode()
    answer = door.client.post(f"{toy}/audio", json={"source": source}).json()
    assert answer["sha256"] == sha256(content)


def test_audio_comes_in_a_form_beside_fields(door: Door, toy: str) -> None:
    content = sound(1.0)
    answer = door.client.post(
        f"{toy}/audio",
        files={"source": ("a b.wav", content), "empty": ("none.wav", b"")},
        data={"prompt": "né", "n": "1"},
    ).json()
    assert answer["sha256"] == sha256(content)
    assert (answer["name"], answer["fields"]) == ("a b.wav", {"prompt": "né", "n": "1"})


def test_audio_of_this_server_is_not_fetched(door: Door, toy: str) -> None:
    run = own_song(door)
    output = run["outputs"]["audio"]
    names = [
        output["asset"],
        f"{door.url}/v1/assets/{output['asset']}/content",
        f"/v1/audio?path={output['asset']}.wav",
        f"{door.url}{output['url']}",
        f"{toy}/files/{output['asset']}/song.wav?sig=x",
    ]
    for name in names:
        assert door.client.post(f"{toy}/audio", json={"source": name}).json()["id"] == output["asset"], name


def test_audio_of_another_caller_does_not_exist(keyed: Door, keyed_toy: str) -> None:
    alice, bob = ({"X-API-Key": key} for key in KEYS.values())
    asset = keyed.client.post(
        f"{keyed_toy}/audio", json={"source": base64.b64encode(sound(0.1)).decode(), "ai_token": KEYS["alice"]}
    ).json()["id"]
    assert keyed.client.get(f"/v1/assets/{asset}", headers=alice).status_code == 200
    for name in (asset, f"{keyed.url}/v1/assets/{asset}/content", f"/v1/audio?path={asset}.wav"):
        refused = keyed.client.post(f"{keyed_toy}/audio", json={"source": name}, headers=bob)
        assert (refused.status_code, refused.json()["field"]) == (404, "source")


def test_a_key_in_the_body_wins(keyed: Door, keyed_toy: str) -> None:
    body = {"source": "x", "ai_token": "wrong"}
    headers = {"X-API-Key": KEYS["alice"]}
    assert keyed.client.post(f"{keyed_toy}/audio", json=body, headers=headers).status_code == 401
    body = {"source": "x", "ai_token": KEYS["alice"]}
    headers = {"X-API-Key": "wrong"}
    assert keyed.client.post(f"{keyed_toy}/audio", json=body, headers=headers).status_code == 422


def test_audio_is_fetched_from_elsewhere(door: Door, keyed: Door, toy: str, keyed_toy: str) -> None:
    """`keyed` stands for another server: its link opens without a key."""
    headers = {"X-API-Key": KEYS["alice"]}
    content = sound(0.3)
    asset = keyed.client.post("/v1/assets", content=content, headers=headers).json()["id"]
    url = keyed.client.post(f"/v1/assets/{asset}/link", json={"seconds": 60}, headers=headers).json()["url"]
    assert door.client.post(f"{toy}/audio", json={"source": url}).json()["sha256"] == sha256(content)
    other = door.client.post(f"{keyed_toy}/audio", json={"source": f"{door.url}/v1/stats"}, headers=headers)
    assert (other.status_code, other.json()["field"]) == (422, "source")
    assert "private address" in other.json()["message"]
    assert "--private-fetches" in other.json()["message"]


@pytest.mark.parametrize("source", [None, "", 3, [], "not base64!", "QUJD", "data:audio/wav;base64,%%%"])
def test_what_is_no_audio_is_refused_by_its_field(door: Door, toy: str, source: Any) -> None:
    answer = door.client.post(f"{toy}/audio", json={"source": source})
    assert (answer.status_code, answer.json()["field"]) == (422, "source")


def test_a_body_beside_its_files_has_a_limit(door: Door, toy: str) -> None:
    big = "la la " * (1 << 19)
    assert door.client.post(f"{toy}/audio", json={"source": big}).status_code == 413
    assert door.client.post(f"{toy}/audio", files={"x": ("x", b"x")}, data={"source": big}).status_code == 413


def test_a_song_is_made_with_its_seeds(door: Door, toy: str) -> None:
    answer = door.client.post(f"{toy}/songs", json={**SONG, "draws": "3,4"}).json()
    assert answer["seeds"] == [3, 4]
    assert [door.client.get(url).status_code for url in answer["urls"]] == [200, 200]
    followed = door.client.get(f"{toy}/songs/{answer['id']}/follow").json()
    assert followed == [Phase.SUCCEEDED]


def test_a_fault_is_told_in_the_words_of_the_client(door: Door, toy: str) -> None:
    answer = door.client.post(f"{toy}/songs", json={**SONG, "seconds": 241})
    assert (answer.status_code, answer.json()["field"]) == (422, "seconds")
    unknown = door.client.post(f"{toy}/songs", json={**SONG, "colour": "blue"})
    assert (unknown.json()["field"], unknown.json()["allowed"]) == ("colour", "words, seconds, rounds, draws")


def test_a_run_is_shown_and_stopped(door: Door, toy: str) -> None:
    id = door.client.post(f"{toy}/songs?wait=false", json=LONG).json()["id"]
    assert door.client.get(f"{toy}/songs/{id}").json()["phase"] in (Phase.QUEUED, Phase.RUNNING)
    door.client.post(f"{toy}/songs/{id}/cancel")
    assert door.client.get(f"{toy}/songs/{id}/follow").json()[-1] == Phase.CANCELLED


def test_the_same_key_is_the_same_run(door: Door, toy: str) -> None:
    headers = {"Idempotency-Key": "once"}
    one, two = (door.client.post(f"{toy}/songs", json=SONG, headers=headers).json()["id"] for _ in range(2))
    assert one == two
    assert door.client.post(f"{toy}/songs", json=SONG).json()["id"] != one


def test_the_same_key_is_the_same_run_whatever_was_drawn_and_uploaded(door: Door, toy: str) -> None:
    """A retry uploads its file again; that is another asset. What is drawn for a request is another length."""
    headers = {"Idempotency-Key": "again"}
    form: dict[str, Any] = {"files": {"source": ("a.wav", sound(0.2))}, "headers": headers}
    one, two = (door.client.post(f"{toy}/near", **form).json() for _ in range(2))
    assert one == two
    other: dict[str, Any] = {"files": {"source": ("a.wav", sound(0.3))}, "headers": headers}
    assert door.client.post(f"{toy}/near", **other).status_code == 409
    source = base64.b64encode(sound(1.0)).decode()
    bodies: dict[str, Any] = {"json": {"source": source}, "headers": {"Idempotency-Key": "embedded"}}
    one, two = (door.client.post(f"{toy}/near", **bodies).json() for _ in range(2))
    assert one == two


def test_an_internal_error_tells_nothing_of_the_server(door: Door, toy: str) -> None:
    answer = httpx2.get(f"{toy}/broken")  # on a connection of its own, which the server closes
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "server's log" in answer.json()["message"]


def test_json_may_be_escaped_as_it_likes(door: Door, toy: str) -> None:
    content = sound(1.0)
    body = json.dumps({"source": base64.b64encode(content).decode()}).replace("/", "\\/")
    assert door.client.post(f"{toy}/audio", content=body).json()["sha256"] == sha256(content)
