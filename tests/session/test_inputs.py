"""Graphs and inputs in every form that a session takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows import Session
from acestep_flows.audio import read, write
from acestep_flows.errors import InputError
from acestep_flows.graph.library import shipped
from acestep_flows.session import RunResult
from acestep_flows.value_file import encode_value
from tests.audio.files import DOOR_CASES
from tests.session.songs import CLASHING, DECODE, NESTING, SOURCE, WORDS


def shipped_inputs(result: RunResult) -> dict[str, dict[str, Any]]:
    """Inputs for every shipped graph."""
    edit = {**WORDS, "steps": 3, "seed": 1, "source": result.audio}
    short = {**WORDS, "duration": 1, "steps": 2, "seed": 1}
    quick = {"steps": 2, "seed": 1}
    return {
        "text2music": short,
        "batch-takes": {**WORDS, "duration": 1, "steps": 2, "seeds": np.array([1, 2])},
        "best-of": {**WORDS, "duration": 1, "steps": 2, "seeds": (1, 2), "by": "rms_dbfs"},
        "retake": {**short, "variance": 0.5},
        "variation-in-span": {**edit, "span": (0.2, 0.6)},
        "repaint": {**edit, "span": np.array([0.2, 0.6])},
        "audio2audio": {**short, "reference": SOURCE, "strength": np.float32(0.5)} | {"duration": None},
        "extend": {**edit, "right": 1},
        "long-form": {"tags": "pop", "sections": ["[outro]"], "seconds": 2, "steps": 1, "seed": 1},
        "edit-lyrics": {**edit, "new_lyrics": "[verse]\ngoodbye"},
        "edit": {**edit, "new_tags": "rock", "new_lyrics": ""},
        "edit-step": {
            **{"tags": "pop", "new_tags": "rock", "lyrics": "", "new_lyrics": ""},
            **{"latents": result.latents, **quick},
        },
        "continue-step": {**WORDS, **quick, "latents": result.latents, "seconds": 1},
        "lyric-chain": {**edit, "edits": ["[verse]\ngoodbye"]},
        "remix": {**edit, "new_tags": "metal"},
        "decode": {"latents": result.latents.array},
        "as-audio": {"source": result.latents},
        "as-latents": {"source": SOURCE},
        "lyric2vocal": {**short, "adapter": "voice"},
        "text2samples": {**short, "adapter": "voice"},
        "rap": {**short, "adapter": "voice"},
        "stemgen": {**quick, "track": SOURCE, "instrument": "bass"},
        "stem-set": {**quick, "track": SOURCE, "instruments": ["bass"]},
        "mix": {"stems": [SOURCE, SOURCE], "tracks": [{"gain": -6.0}, {"pan": 1.0}]},
        "singing2accompaniment": {**quick, **WORDS, "vocal": SOURCE},
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped().glob("*.yaml")))
def test_every_shipped_graph_runs(session: Session, result: RunResult, name: str) -> None:
    inputs = shipped_inputs(result)[name]
    declared = session.read(name).graph.inputs
    inputs = {name: value for name, value in inputs.items() if name in declared and value is not None}
    given = session.run(name, **inputs)
    assert given.graph == name
    assert set(given.outputs) & {"audio", "latents"}


def test_options_have_no_names_of_inputs_of_shipped_graphs(session: Session) -> None:
    names = {name for graph in session.graphs for name in session.read(graph).graph.inputs}
    assert not names & {"inputs", "progress", "cache", "deadline"}


def test_a_graph_is_a_name_a_file_text_a_map_or_read_before(
    session: Session, result: RunResult, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(DECODE)
    content = session.read(DECODE).graph.content
    for graph in (file, str(file), DECODE, json.dumps(content), content, session.read(file)):
        given = session.run(graph, latents=result.latents)
        assert (given.graph, given.audio) == ("my-decode", result.audio)
    with Session(session.weights, session.placement, graph_folders=[tmp_path]) as other:
        assert "mine" in other.graphs
        assert "latents  latents" in other.describe("mine")


def test_a_graph_that_was_read_shows_its_name_and_inputs(session: Session) -> None:
    assert repr(session.read(DECODE)) == "<Scope of my-decode: inputs latents>"
    assert repr(session.read(NESTING)) == "<Scope of nesting: inputs none>"


def test_a_result_is_refused_with_the_output_to_give(session: Session, result: RunResult) -> None:
    for name, inputs, output in (
        ("repaint", {"source": result, "tags": "pop", "span": (0.2, 0.6)}, "audio, result.latents"),
        ("decode", {"latents": result}, "latents"),
    ):
        (where,) = (name for name, value in inputs.items() if value is result)
        message = f"^{where}: the result of a run \\(allowed: one of its outputs: result.{output}\\)$"
        with pytest.raises(InputError, match=message):
            session.run(name, inputs=inputs)


def test_a_changed_graph_file_is_read_again(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for summary in ("one", "two"):
        file.write_text(DECODE + f"summary: {summary}\n")
        assert session.read(file).graph.summary == summary


def test_audio_and_text_come_from_files(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write.audio("a.wav", SOURCE, subtype="float32")
    Path("words.txt").write_text("[verse]\nhello\n", encoding="utf-8")
    options: dict[str, Any] = {"steps": 2, "seed": 1, "retake_seed": 2, "span": (0.2, 0.6), "cache": "off"}
    for source in ("a.wav", Path("a.wav")):
        named = session.run("repaint", source=source, tags="pop", lyrics=Path("words.txt"), **options)
        assert list(named.recipe.files.values()) == ["a.wav"]
        assert named.inputs["lyrics"] == "[verse]\nhello"
    same = session.run("repaint", source=read.audio("a.wav"), tags="pop", lyrics="[verse]\nhello", **options)
    assert same.audio == named.audio


@pytest.mark.parametrize("name", DOOR_CASES)
def test_files_as_people_have_them(session: Session, tmp_path: Path, name: str) -> None:
    case, path = DOOR_CASES[name], tmp_path / "song.audio"
    path.write_bytes(case.content)
    inputs = {"reference": path, "tags": "pop", "steps": 1, "seed": 1}
    if case.refusal:
        with pytest.raises(InputError, match=f"reference: .*song.audio: {case.refusal}"):
            session.run("audio2audio", inputs=inputs)
        return
    told = [warning for warning in session.run("audio2audio", inputs=inputs).warnings if "input" in warning]
    assert len(told) == bool(case.note)
    assert all(re.match(f"input reference: {case.note}", warning) for warning in told)


def test_music_is_audio_or_latents_in_every_form(session: Session, result: RunResult, tmp_path: Path) -> None:
    options: dict[str, Any] = {"tags": "pop", "steps": 2, "seed": 1, "retake_seed": 2, "span": (0.2, 0.6)}
    stored = tmp_path / "song.safetensors"
    stored.write_bytes(encode_value(result.latents))
    from_value, from_file = (session.run("repaint", source=source, **options) for source in (result.latents, stored))
    assert from_value.audio == from_file.audio
    assert "origin.encoded" not in {node.id for node in from_file.recipe.nodes}
    with pytest.raises(InputError, match=r"source: a bare array \(allowed: Audio\(.*, Latents\(array\)"):
        session.run("repaint", source=result.latents.array, **options)


def test_inputs_with_names_of_options_go_in_a_map(session: Session) -> None:
    given = session.run(CLASHING, inputs={"cache": "cold", "progress": True}, source=SOURCE, cache="off")
    assert given.outputs["cache"] == "cold"
    assert given.inputs["progress"] is True
