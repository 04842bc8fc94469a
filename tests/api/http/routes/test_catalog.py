"""The catalog: the model, what is installed beside it, presets and examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.api.server.model_reader import ModelReader
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import read_settings
from acestep_flows.training.synthesis.words import split, vocabulary
from tests.api.door import Door, opened, sound


@pytest.fixture(scope="module")
def nano(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that describes the embedded model."""
    environment = {"ACESTEP_FLOWS_CACHE": str(tmp_path_factory.mktemp("cache"))}
    pool = Pool.read("local").model_copy(update={"checkpoint": "embedded"})
    card = ModelReader(pool, read_settings(environment)).card
    with opened(tmp_path_factory.mktemp("nano"), strict, executing=False, model_card=card) as door:
        yield door


def test_the_model_says_what_it_cannot_do(nano: Door) -> None:
    model = nano.client.get("/v1/model").json()
    assert model["name"] == "acestep-nano-1"
    assert model["notes"][0] == "a demonstration model: it does not sing words, and keeps the tempo in the tags loosely"
    own = {"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0, "erg_tag": False, "steps": 60}
    assert model["sampling"] == model["sampling"] | own


def test_what_is_installed_is_listed(nano: Door) -> None:
    assert nano.client.get("/v1/adapters").json() == {"adapters": [{"name": "lyric2vocal"}]}
    assert nano.client.get("/v1/controls").json() == {
        "controls": [{"name": "singing2accompaniment"}, {"name": "stemgen"}]
    }


@pytest.mark.parametrize(
    ("graph", "field", "message"),
    [
        ("text2music", "adapter", "no adapter 'nobody' on this server (allowed: lyric2vocal)"),
        ("stemgen", "control_branch", "no control branch 'nobody' on this server (allowed: singing2accompaniment, "),
    ],
)
def test_what_is_not_installed_is_refused_at_submission(nano: Door, graph: str, field: str, message: str) -> None:
    own = {"tags": "x"} if graph == "text2music" else {"track": nano.upload(sound()).json()["id"], "instrument": "bass"}
    body: dict[str, Any] = {"graph": graph, "inputs": own | {"steps": 1, field: "nobody"}}
    response = nano.client.post("/v1/runs", json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (422, field)
    assert response.json()["error"]["message"].startswith(f"{field}: {message}")
    body["inputs"][field] = nano.service.model_card().adapters[0] if field == "adapter" else "stemgen"
    assert nano.client.post("/v1/runs", json=body).status_code == 202


def test_a_server_that_knows_no_model_says_so(waiting: Door) -> None:
    assert waiting.service.model_card() == ModelCard()
    assert waiting.client.get("/v1/model").json() == {"name": "", "notes": [], "sampling": {}}
    assert waiting.client.get("/v1/adapters").json() == {"adapters": []}


def test_the_catalog_is_all_lists_in_one_answer(nano: Door) -> None:
    catalog = nano.client.get("/v1/catalog", params={"graph": "retake"}).json()
    for name in ("adapters", "controls", "presets", "examples", "graphs"):
        assert catalog[name] == nano.client.get(f"/v1/{name}").json()[name]
    assert catalog["model"] == nano.client.get("/v1/model").json()
    assert catalog["graph"] == nano.client.get("/v1/graphs/retake").json()
    assert (catalog["caller"], nano.client.get("/v1/catalog").json()["graph"]) == (None, None)
    refused = nano.client.get("/v1/catalog", params={"graph": "nobody"})
    assert (refused.status_code, refused.json()["error"]) == (
        404,
        nano.client.get("/v1/graphs/nobody").json()["error"],
    )


def test_every_example_can_be_run(waiting: Door) -> None:
    examples = waiting.client.get("/v1/examples").json()["examples"]
    assert len(examples) >= 4
    for example in examples:
        answer = waiting.client.post(f"/v1/graphs/{example['graph']}/plan", json={"inputs": example["inputs"]})
        assert answer.status_code == 200, answer.text


def test_presets_for_the_embedded_model_are_in_its_words(waiting: Door) -> None:
    presets = waiting.client.get("/v1/presets").json()["presets"]
    assert len({preset["name"] + str(preset["model"]) for preset in presets}) == len(presets) == 18
    known = {word.lower() for word in vocabulary()} | {","}
    for preset in presets:
        if preset["model"] is not None:
            assert {word.lower() for word in split(preset["tags"])} <= known, preset


def test_the_catalog_is_for_callers(strict: Checkpoint, tmp_path: Path) -> None:
    from acestep_flows.api.http.keys import Keyring, new_key

    with opened(tmp_path, strict, keys=Keyring([new_key("alice")[1]]), executing=False) as door:
        for path in ("catalog", "model", "adapters", "controls", "presets", "examples"):
            assert door.client.get(f"/v1/{path}").status_code == 401
