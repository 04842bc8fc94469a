"""Outputs: every kind becomes a file that says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from acestep_flows.api.execution import store_outputs as module
from acestep_flows.api.execution.store_outputs import StoredOutputs, store_outputs
from acestep_flows.audio import read, tags
from acestep_flows.graph.records.recipe import GraphPart, NodePart, Recipe
from acestep_flows.outputs import MOST_NODES_IN_TAGS
from acestep_flows.values import Audio, File, Latents, Report, Span
from benchmarks.store import counted
from tests.api.toys import opened

SOUND = Audio(np.full((2, 4800), 0.25, np.float32), 48_000)
LATENTS = Latents(np.ones((8, 16, 3), np.float32))


def recipe(nodes: int = 1) -> Recipe:
    part = GraphPart(name="g", digest="d")
    return Recipe(recipe=1, graph=part, nodes=tuple(NodePart(id=str(i), stage="s") for i in range(nodes)))


def test_each_kind_is_written_as_what_it_is(tmp_path: Path) -> None:
    outputs = {
        "audio": SOUND,
        "takes": [SOUND, LATENTS, None],
        "stems": {"vocals": LATENTS},
        "file": File(np.frombuffer(b"OggS", np.uint8), "ogg"),
        "report": Report({"lufs": -14.0}),
        "score": 0.5,
        "nothing": None,
    }
    with opened(tmp_path) as home:
        stored = store_outputs(outputs, recipe(), artifacts=home.artifacts, format="flac", stem="g-1")
        files = {output.name: (output.kind, output.content_type, output.file_name) for output in stored.outputs}
        assert files == {
            "audio": ("audio", "audio/flac", "g-1.flac"),
            "takes.01": ("audio", "audio/flac", "g-1-takes-01.flac"),
            "takes.02": ("latents", "application/octet-stream", "g-1-takes-02.safetensors"),
            "stems.vocals": ("latents", "application/octet-stream", "g-1-stems-vocals.safetensors"),
            "file": ("audio", "audio/ogg", "g-1-file.ogg"),
            "report": ("report", "application/json", "g-1-report.json"),
            "score": ("json", "application/json", "g-1-score.json"),
            "recipe": ("report", "application/json", "g-1-recipe.json"),
        }
        by_name = {output.name: home.artifacts.open(output.blob.digest).read() for output in stored.outputs}
        assert json.loads(by_name["score"]) == 0.5
        assert json.loads(by_name["report"]) == {"lufs": -14.0}
        audio = read.audio(by_name["audio"])
        np.testing.assert_allclose(audio.samples, SOUND.samples, atol=1e-4)
        assert tags.read(by_name["audio"]).recipe == json.loads(by_name["recipe"])
        assert stored.warnings == ()


def test_outputs_are_stored_together_or_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"audio": SOUND, "takes": [SOUND, SOUND, SOUND], "report": Report({"lufs": -14.0})}
    found: list[StoredOutputs] = []
    for number, most in enumerate((1 << 30, 1)):
        monkeypatch.setattr(module, "BATCH_BYTES", most)
        with opened(tmp_path / f"{number}") as home, counted(home) as counts:
            found.append(store_outputs(outputs, recipe(), artifacts=home.artifacts, format="flac", stem="g-1"))
            assert counts["commits"] == (1 if most > 1 else 6)
            assert all(home.artifacts.open(output.blob.digest).read() for output in found[-1].outputs)
    assert found[0] == found[1]


def test_no_part_of_an_output_leads_elsewhere(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        outputs = {"parts": {"../../x": 1, "/etc/passwd": 2, "\u4f60": 3, "a\r\nb": 4}}
        stored = store_outputs(outputs, recipe(), artifacts=home.artifacts, format="flac", stem="g-1")
        assert [output.file_name for output in stored.outputs[:4]] == [
            "g-1-parts-.._.._x.json", "g-1-parts-_etc_passwd.json", "g-1-parts-\u4f60.json", "g-1-parts-a__b.json"
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("format", "content_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("ogg", "audio/ogg")]
)
def test_audio_comes_in_the_format_asked_for(tmp_path: Path, format: str, content_type: str) -> None:
    loud = Audio(SOUND.samples * 8, 48_000)
    with opened(tmp_path) as home:
        stored = store_outputs({"song": loud}, recipe(), artifacts=home.artifacts, format=format, stem="g")
        assert (stored.outputs[0].content_type, stored.outputs[0].file_name) == (content_type, f"g-song.{format}")
        assert read.audio(home.artifacts.open(stored.outputs[0].blob.digest).read()).channels == 2
    assert stored.warnings == (
        "output song: samples were up to 6.0 dB over full scale; these peaks are turned down to fit",
    )


def test_the_graphs_own_recipe_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        stored = store_outputs({"recipe": Span(0, 1)}, recipe(), artifacts=home.artifacts, format="flac", stem="g")
        assert [output.kind for output in stored.outputs] == ["span"]


def test_a_recipe_of_many_nodes_is_whole_in_its_own_file_only(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        long = recipe(MOST_NODES_IN_TAGS + 1)
        stored = store_outputs({"audio": SOUND}, long, artifacts=home.artifacts, format="flac", stem="g")
        audio, recipe_file = (home.artifacts.open(output.blob.digest).read() for output in stored.outputs)
        assert tags.read(audio).recipe["nodes"] == []
        assert len(json.loads(recipe_file)["nodes"]) == len(long.nodes)
