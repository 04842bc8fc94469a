"""From a file back to the run that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from acestep_flows.audio import tags, write
from acestep_flows.cli.replay_job import planned_again, recipe_of
from acestep_flows.errors import GraphError, InputError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.execution.result import Result
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.records.graph_content import graph_content, graph_scope
from acestep_flows.graph.records.recipe import Recipe, recipe
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.read import read_recipe_file
from acestep_flows.session import PlannedRun
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio
from tests.recipes import v1_files

INNER = """
graph: inner
version: 1
inputs: {source: {type: audio}, span: {type: span}}
nodes: {cut: {stage: trim, with: {audio: $source, span: $span}}}
outputs: {audio: $cut.audio}
"""
OUTER = """
graph: outer
version: 1
inputs:
  source: {type: audio}
  span: {type: span, default: [0, 1.5]}
  seed: {type: seed, default: random}
  mood: {type: text, default: "yes"}
nodes:
  noise: {stage: init_noise, with: {duration: 1.0, seed: $seed}}
  short: {graph: inner, with: {source: $source, span: $span}}
outputs: {audio: $short.audio, noise: $noise.noise, mood: $mood}
"""


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    (tmp_path / "inner.yaml").write_text(INNER)
    (tmp_path / "outer.yaml").write_text(OUTER)
    library = Library([tmp_path])
    return checked(library.load("outer"), stages(), library.nested)


@pytest.fixture
def job(scope: Scope, tmp_path: Path) -> PlannedRun:
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 96_000), 48_000)
    reader = InputReader()
    given = reader.inputs([f"source={tmp_path}/a.wav"], {"source": scope.graph.inputs["source"].type})
    return PlannedRun(lay_out(scope, given), graph_content(scope), reader.files)


def made(job: PlannedRun) -> Recipe:
    return recipe(Result(job.plan, {}, {}, 0.5), job.content, job.files)


def test_a_graph_survives_being_taken_apart(scope: Scope) -> None:
    content = json.loads(json.dumps(graph_content(scope)))
    assert content["nested"]["inner"]["graph"]["graph"] == "inner"
    again = graph_scope(content, "song.json")
    assert graph_content(again) == content


def test_a_job_can_be_made_again_from_its_recipe(job: PlannedRun) -> None:
    again = planned_again(made(job), "song.json")
    assert again.plan == job.plan
    assert again.plan.inputs["mood"] == "yes"
    assert again.plan.inputs["seed"] == job.plan.inputs["seed"]
    assert again.files == job.files


def test_an_input_file_that_has_changed_or_gone_is_named(job: PlannedRun, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(96_000), 48_000)
    with pytest.raises(InputError, match=r"a\.wav has changed"):
        planned_again(made(job), "song.json")
    (tmp_path / "a.wav").unlink()
    with pytest.raises(InputError, match=r"a\.wav"):
        planned_again(made(job), "song.json")


@pytest.mark.parametrize("content", [None, [], {}, {"graph": {}, "nested": []}])
def test_a_recipe_without_a_graph(job: PlannedRun, content: Any) -> None:
    told = made(job).as_json()
    told["graph"]["content"] = content
    with pytest.raises((InputError, GraphError), match=r"song\.json"):
        planned_again(Recipe.model_validate(told), "song.json")


def test_a_recipe_whose_graph_was_altered(job: PlannedRun) -> None:
    told = made(job).as_json()
    told["graph"]["content"]["graph"]["summary"] = "something else"
    with pytest.raises(InputError, match=r"song\.json: its graph is not the one"):
        planned_again(Recipe.model_validate(told), "song.json")
    del told["graph"]["content"]["nested"]
    with pytest.raises(GraphError, match="inner"):
        planned_again(Recipe.model_validate(told), "song.json")


def test_the_recipe_is_found_in_tags_and_beside(job: PlannedRun, tmp_path: Path) -> None:
    told = made(job)
    sound = Audio(np.zeros((2, 4800), np.float32), 48_000)
    for format in ("wav", "flac", "mp3", "ogg"):
        path = write.audio(tmp_path / f"song.{format}", sound, tags=tags.Tags(told.as_json())).path
        assert recipe_of(path) == told
    (tmp_path / "song.json").write_text(json.dumps(told.as_json() | {"written": ["song.wav"]}))
    assert recipe_of(tmp_path / "song.json") == told


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.json", None, "cannot be read"),
        ("song.json", b"{", "not JSON"),
        ("song.json", b"[" * 1_000_000, "not JSON"),
        ("song.json", b"{}", "no recipe"),
        ("song.json", b'{"recipe": 99}', "recipe version 99"),
        ("song.wav", b"no audio", "not readable as audio"),
    ],
)
def test_files_without_a_recipe(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        recipe_of(tmp_path / name)
    assert name in str(caught.value)


def test_audio_of_another_program_has_no_recipe(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(4800), 48_000)
    with pytest.raises(InputError, match=r"a\.wav: no recipe"):
        recipe_of(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("words.txt", b"hello"),
        ("other.json", b"{}"),
        ("list.json", b"[1]"),
        ("broken.json", b"{"),
        ("empty.wav", b""),
        ("silence.wav", None),
    ],
)
def test_a_wrong_file_is_answered_as_run_from_answers_it(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is None:
        soundfile.write(tmp_path / name, np.zeros(4800), 48_000)
    else:
        (tmp_path / name).write_bytes(content)
    told = []
    for read in (recipe_of, read_recipe_file):
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_recipe_of_v1_cannot_be_replayed_and_says_what_can(tmp_path: Path) -> None:
    (tmp_path / "a_input_params.json").write_text(json.dumps(v1_files.NEW))
    with pytest.raises(InputError, match=r"a recipe of ACE-Step v1, .*\(allowed: .*; run --from takes this one\)"):
        recipe_of(tmp_path / "a_input_params.json")
