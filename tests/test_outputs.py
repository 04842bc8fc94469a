"""What a run writes, and where it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows import outputs as files
from acestep_flows.audio import read, tags
from acestep_flows.errors import InputError
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.records.recipe import GraphPart, NodePart, Recipe
from acestep_flows.value_file import read_value
from acestep_flows.values import Audio, File, Latents, Report, Span


def recipe(nodes: int = 1) -> Recipe:
    parts = tuple(NodePart(id=f"n{number}", stage="vocode") for number in range(nodes))
    return Recipe(recipe=1, graph=GraphPart(name="small", digest="0" * 64), nodes=parts, inputs={"lyrics": "é \ud83d"})


def tone(seconds: float = 0.2, level: float = 0.5) -> Audio:
    wave = np.sin(np.arange(round(48_000 * seconds)) * 0.05).astype(np.float32) * level
    return Audio(np.stack([wave, wave]), 48_000)


def latents() -> Latents:
    return Latents(np.zeros((8, 16, 2), np.float32))


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg"])
def test_audio_comes_with_tags_a_picture_and_the_recipe(tmp_path: Path, format: str) -> None:
    paths = files.write_outputs(tmp_path, "song", {"audio": tone()}, recipe(), format=format)
    assert [path.name for path in paths] == [f"song.{format}", "song.png", "song.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert read.audio(paths[0]).channels == 2
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    told = json.loads(paths[2].read_text(encoding="utf-8"))
    assert told["graph"]["name"] == "small"
    assert told["written"] == [f"song.{format}", "song.png"]
    inside = tags.read(paths[0])
    assert inside.recipe["graph"] == told["graph"]
    assert "AI-generated" in inside.statement
    assert "AI-generated" in told["statement"]


def test_every_output_has_a_name_of_its_own(tmp_path: Path) -> None:
    outputs: dict[str, Any] = {
        "audio": tone(),
        "takes": [tone(), [tone()], None],
        "stems": {"bass": tone()},
        "file": File(np.frombuffer(b"bytes", np.uint8), "flac"),
        "latents": latents(),
        "report": Report({"loudness": -14.0}),
        "best": 2,
        "absent": None,
    }
    paths = files.write_outputs(tmp_path, "x", outputs, recipe())
    assert [path.name for path in paths if path.suffix != ".png"] == [
        *("x.wav", "x-takes-01.wav", "x-takes-02-01.wav", "x-stems-bass.wav", "x-file.flac", "x.json"),
    ]
    assert (tmp_path / "x-file.flac").read_bytes() == b"bytes"
    told = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert told["reports"] == {"report": {"loudness": -14.0}, "best": 2}


def test_latents_are_kept_where_asked(tmp_path: Path) -> None:
    outputs = {"latents": [latents()], "mel": latents()}
    paths = files.write_outputs(tmp_path, "x", outputs, recipe(), keep=["latents"])
    assert [path.name for path in paths] == ["x-latents-01.safetensors", "x.json"]
    assert read_value(paths[0], "latents", "source") == latents()


def test_a_span_is_neither_file_nor_report(tmp_path: Path) -> None:
    paths = files.write_outputs(tmp_path, "x", {"span": Span(1.0, 2.0)}, recipe())
    assert [path.name for path in paths] == ["x.json"]


def test_large_recipes_stay_out_of_the_tags(tmp_path: Path) -> None:
    paths = files.write_outputs(tmp_path, "x", {"audio": tone()}, recipe(files.MOST_NODES_IN_TAGS + 1))
    assert tags.read(paths[0]).recipe["nodes"] == []
    assert len(json.loads(paths[-1].read_text(encoding="utf-8"))["nodes"]) == files.MOST_NODES_IN_TAGS + 1


def test_names_of_parts_cannot_leave_the_folder(tmp_path: Path) -> None:
    stems = {"../../x": tone(), "lead vocal": tone()}
    paths = files.write_outputs(tmp_path / "out", "x", {"stems": stems, "audio": [tone()]}, recipe())
    assert [path.name for path in paths if path.suffix == ".wav"] == [
        *("x-stems-.._.._x.wav", "x-stems-lead_vocal.wav", "x-01.wav"),
    ]
    assert {path.parent for path in paths} == {tmp_path / "out"}


def test_a_leaf_has_a_stored_name_and_a_label_for_files() -> None:
    outputs = {"audio": 1, "takes": [2, [3]], "stems": {"bass": 4}, "absent": None}
    leaves = [(leaf.name, leaf.label, leaf.content) for leaf in files.output_leaves(outputs)]
    assert leaves == [
        ("audio", "", 1),
        ("takes.01", "takes-01", 2),
        ("takes.02.01", "takes-02-01", 3),
        ("stems.bass", "stems-bass", 4),
    ]


def test_a_song_over_full_scale_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files.write_outputs(tmp_path, "x", {"audio": tone(level=2.0)}, recipe())
    assert "x.wav: samples were up to 6.0 dB over full scale; these peaks are turned down to fit" in caplog.text
    (told,) = json.loads((tmp_path / "x.json").read_text())["warnings"]
    assert told in caplog.text


def test_files_have_the_rate_of_their_audio(tmp_path: Path) -> None:
    files.write_outputs(tmp_path, "x", {"audio": Audio(tone().samples, 44_100)}, recipe())
    assert read.audio(tmp_path / "x.wav").sample_rate == 44_100


def test_warnings_are_those_of_reports_and_of_silence() -> None:
    faint, silent = Audio(tone().samples * np.float32(1e-4), 48_000), Audio(np.zeros((2, 100), np.float32), 48_000)
    reports = [Report({"warnings": ["line 3 was left out"]}), Report({"warnings": ["line 3 was left out"]}), Report({})]
    outputs = {"audio": tone(), "stems": [tone(), faint, silent], "reports": reports, "words": {"warnings": ["none"]}}
    level = 20 * np.log10(np.sqrt(np.mean(faint.samples.astype(float) ** 2)))
    assert files.output_warnings(outputs) == [
        f"output stems.02 is almost silent ({level:.0f} dBFS)",
        "output stems.03 is silent",
        "line 3 was left out",
    ]


def test_names_do_not_meet() -> None:
    stems = {files.unique_stem("text2music", now=0.0) for _ in range(100)}
    assert len(stems) == 100
    assert len({stem.rpartition("-")[0] for stem in stems}) == 1


def test_only_outputs_can_be_kept() -> None:
    plan = Plan("g", "", {}, {}, {"audio": None, "latents": None})
    files.check_kept(plan, ["latents"])
    with pytest.raises(InputError, match=r"--keep: no output 'mel' \(allowed: audio, latents\)"):
        files.check_kept(plan, ["latents", "mel"])
