"""Recipes over HTTP: what a client gets to fill in a form with, and what it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened, sound
from tests.recipes.v1_files import EDITED, NEW, OLD, SEED


def read(door: Door, content: Any, status: int = 200) -> dict[str, Any]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    response = door.client.post("/v1/recipes:read", content=body)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.fixture(scope="module")
def song(door: Door) -> dict[str, Any]:
    return door.finished(format="flac")


def test_a_song_of_the_server_is_submitted_again(door: Door, song: dict[str, Any]) -> None:
    for name in ("audio", "recipe"):
        answer = read(door, door.client.get(song["outputs"][name]["url"]).content)
        assert (answer["graph"], answer["missing"], answer["warnings"]) == ("text2music", [], [])
        assert answer["inputs"].items() >= SHORT.items()
        assert answer["seeds"]["noise.seed"] == 3
        again = door.finished(answer["graph"], answer["inputs"])
        assert again["inputs"] == song["inputs"]


def test_an_edit_names_the_callers_asset(door: Door, song: dict[str, Any]) -> None:
    inputs = {"source": song["outputs"]["audio"]["asset"], "span": [0.2, 0.6], "tags": "x", "steps": 1, "seed": 1}
    edit = door.finished("repaint", inputs)
    answer = read(door, door.client.get(edit["outputs"]["audio"]["url"]).content)
    assert answer["inputs"]["source"] == inputs["source"]
    assert answer["inputs"]["span"] == {"start": 0.2, "end": 0.6}
    assert answer["missing"] == []


@pytest.mark.parametrize("form", [OLD, NEW])
def test_the_parameters_of_v1(door: Door, form: dict[str, Any]) -> None:
    answer = read(door, form)
    assert answer["graph"] == "text2music"
    wanted = {"tags": form["prompt"], "duration": 12.5, "seed": SEED, "solver": "heun", "compatibility": "upstream"}
    assert answer["inputs"].items() >= wanted.items()
    assert (answer["missing"], answer["warnings"]) == ([], [])


def test_what_is_missing_and_what_is_lost_is_listed(door: Door) -> None:
    answer = read(door, {**NEW, **EDITED, "format": "mp3", "mood": 1})
    assert answer["graph"] == "edit"
    assert "source" not in answer["inputs"]
    assert answer["missing"] == [{"input": "source", "kind": "audio", "digest": None, "file_name": "song.wav"}]
    assert [warning.partition(" ")[0] for warning in answer["warnings"]] == ["v1", "not", "format"]


def test_a_graph_that_the_server_does_not_have(door: Door) -> None:
    recipe = {"recipe": 1, "graph": {"name": "mine", "digest": "a" * 64}, "inputs": {"tags": "x", "stems": [3]}}
    answer = read(door, recipe)
    assert (answer["graph"], answer["inputs"]) == ("mine", {"tags": "x", "stems": [3]})
    assert answer["warnings"] == ["this server has no graph 'mine'"]
    stems = [{"value": ["audio", "b" * 64]}, {"value": ["audio", "c" * 64]}]
    other = {"recipe": 1, "graph": {"name": "decode", "digest": "a" * 64}, "inputs": {"tags": "x"}}
    assert read(door, other)["warnings"] == [
        "not taken over: tags x (no input of decode)",
        "the graph decode of this server is not the one the recipe was made by",
    ]
    listed = read(door, {**recipe, "inputs": {"stems": stems}, "files": {"b" * 64: "/home/me/a.wav"}})
    assert [(each["input"], each["file_name"]) for each in listed["missing"]] == [
        ("stems[0]", "a.wav"),
        ("stems[1]", ""),
    ]
    assert listed["inputs"] == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"{", "body: not JSON"),
        (b"[]", "body: no recipe"),
        (b'{"recipe": 9, "graph": 1}', "body: recipe version 9"),
        (b'{"prompt": "a", "infer_step": NaN}', "body: NaN or infinity"),
        (b'{"prompt": "a\\u0000", "infer_step": 3}', "body: a text with a null"),
        (b'{"prompt": "a", "infer_step": 3, "x": ' + b"[" * 80 + b"]" * 80 + b"}", "body: JSON nested deeper"),
        (b"[" * 100_000, "body: not JSON"),
        (b"RIFFxxxx", "body: not readable as audio"),
        (sound(0.1), "body: no recipe in its tags"),
        (b'{"prompt": "' + b"a" * 9_000_000 + b'", "infer_step": 3}', "body: too large for a recipe"),
    ],
)
def test_other_bodies_are_refused_without_a_path(door: Door, body: bytes, message: str) -> None:
    error = read(door, body, 422)["error"]
    assert error["code"] == "invalid_input"
    assert message in error["message"]
    if message in ("empty", "body: not readable as audio"):
        assert error["allowed"].startswith("a recipe of acestep_flows, ")
    assert str(door.home.root) not in error["message"]
    assert not list((door.home.root / "artifacts" / "unfinished").glob("*"))


def test_a_body_over_the_limit_of_uploads_is_refused(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(upload_bytes=2000), executing=False) as door:
        response = door.client.post("/v1/recipes:read", content=b"{" + b" " * 3000 + b"}")
        assert response.status_code == 413
        assert read(door, OLD)["graph"] == "text2music"


def test_assets_of_other_callers_are_missing(strict: Checkpoint, tmp_path: Path) -> None:
    (first_key, first), (second_key, second) = new_key("one"), new_key("two")
    with opened(tmp_path, strict, keys=Keyring([first, second]), executing=False) as door:
        own, other = ({"Authorization": f"Bearer {key}"} for key in (first_key, second_key))
        asset = door.client.post("/v1/assets", content=sound(0.2), headers=own).json()["id"]
        recipe = {
            "recipe": 1,
            "graph": {"name": "audio2audio", "digest": ""},
            "inputs": {"reference": {"value": ["audio", "b" * 64]}},
            "files": {"b" * 64: f"asset:{asset}"},
        }
        asked = [door.client.post("/v1/recipes:read", json=recipe, headers=headers) for headers in (own, other, {})]
    assert asked[0].json()["inputs"] == {"reference": asset}
    assert asked[1].json()["inputs"] == {}
    assert [each["input"] for each in asked[1].json()["missing"]] == ["reference"]
    assert asked[2].status_code == 401
