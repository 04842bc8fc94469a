"""Recipes: what is in them, and that inputs come back out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.records.recipe import Recipe, inputs_of, read_recipe, recipe
from acestep_flows.values import Audio, Latents, Span, Value
from tests.graph.small_stages import Weights, node, out, plan_of, run, song

SONG = Audio(np.ones((2, 10), np.float32), 48_000)
LATENTS = Latents(np.ones((8, 16, 2), np.float32))
CONTENT = {"graph": "small", "nodes": {}}


def recipe_of(**where: Any) -> Recipe:
    return recipe(run(song(seed=3), **where)[0], CONTENT)


def with_inputs(inputs: dict[str, Any], files: dict[str, str] | None = None) -> Recipe:
    result, _ = run(plan_of({"a": node("make")}, inputs=inputs))
    return recipe(result, CONTENT, files)


def through_json(written: Recipe) -> Recipe:
    return read_recipe(json.loads(json.dumps(written.as_json())))


def test_a_recipe_holds_what_a_run_was() -> None:
    content = recipe_of().as_json()
    assert content["recipe"] == 1
    assert content["statement"].startswith("AI-generated")
    assert content["graph"] == {"name": "small", "digest": "0" * 64, "content": CONTENT}
    assert content["inputs"] == {"seed": 3, "gain": 1.0}
    assert content["seeds"] == {"one.seed": 3, "two.seed": 7}
    assert content["versions"].keys() >= {"acestep_flows", "python", "numpy", "torch"}
    assert [entry["id"] for entry in content["nodes"]] == ["one", "two", "long", "song"]
    assert content["outputs"]["latents"] == content["nodes"][3]["outputs"]["latents"]
    assert content["nodes"][0]["weights"] == ["w1"]


def test_weights_have_one_digest() -> None:
    assert recipe_of().weights == recipe_of().weights != recipe_of(weights=Weights({"transformer": "w2"})).weights


def test_a_recipe_survives_json(tmp_path: Path) -> None:
    written = recipe_of(store=DiskStore(tmp_path))
    assert through_json(written) == written


def test_a_skipped_node_is_in_it_without_a_key() -> None:
    result, _ = run(plan_of({"a": node("make", when=(False,)), "b": node("make")}))
    entries = recipe(result, CONTENT).nodes
    assert [(entry.id, entry.source, bool(entry.key)) for entry in entries] == [
        ("a", "skipped", False),
        ("b", "computed", True),
    ]


def test_inputs_come_back() -> None:
    inputs = {
        "tags": "funk",
        "seed": 2**32 - 1,
        "span": Span(1, 2),
        "source": SONG,
        "stems": [SONG, LATENTS],
        "record": {"value": ["audio", "x"], "map": {"list": [None, True]}, "inner": {"song": SONG}},
    }
    files = {SONG.digest: "song.wav", LATENTS.digest: "@./latents", "unused": "secret.wav"}
    written = with_inputs(inputs, files)
    assert written.files == {SONG.digest: "song.wav", LATENTS.digest: "@./latents"}
    asked: list[tuple[str, str]] = []

    def find(kind: str, digest: str, name: str) -> Value:
        asked.append((kind, written.files[digest]))
        return SONG if kind == "audio" else LATENTS

    assert inputs_of(through_json(written), find) == inputs
    assert set(asked) == {("audio", "song.wav"), ("latents", "@./latents")}
    assert "secret" not in json.dumps(written.as_json())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no recipe of acestep_flows"),
        ([], "no recipe of acestep_flows"),
        ({}, "no recipe of acestep_flows"),
        ({"recipe": 2}, r"recipe version 2 \(allowed: 1\)"),
        ({"recipe": 1}, "graph: missing"),
        (
            {"recipe": 1, "graph": {"name": "a", "digest": "b"}, "nodes": [{"id": 3}]},
            r"nodes\[0\]\.id: 3 \(allowed: text\)",
        ),
    ],
)
def test_what_is_no_recipe_is_refused(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe(content, "song.json")


@pytest.mark.parametrize(
    "entry", [{"value": 3}, {"value": ["audio"]}, {"map": []}, {}, {"fields": {}, "value": ["span", "d"]}]
)
def test_an_input_that_cannot_be_read_is_refused(entry: Any) -> None:
    written = Recipe.model_validate({**recipe_of().as_json(), "inputs": {"x": entry}})
    with pytest.raises(InputError):
        inputs_of(written, lambda kind, digest, name: SONG)


def test_fields_of_later_versions_are_passed_over() -> None:
    written = recipe_of()
    assert read_recipe({**written.as_json(), "files_written": ["a.wav"]}) == written


def test_the_outputs_of_the_run_are_those_of_the_recipe() -> None:
    result, values = run(plan_of({"a": node("make")}, {"both": [out("a"), 3]}))
    assert recipe(result, CONTENT).outputs == {"both": [{"value": ["latents", values["both"][0].digest]}, 3]}
