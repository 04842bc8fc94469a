from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from acestep_flows.bulk.inputs import CellReader, PathReader, located, opened, reading, stand_ins
from acestep_flows.errors import InputError
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.library import Library
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, Latents
from tests.bulk.manifests import scope, written

SONGS = """
graph: join-them
version: 1
inputs:
  songs: {type: list of audio}
  first: {type: record, fields: {song: {type: audio}, gain: {type: float, default: 0}}}
nodes:
  whole: {stage: join, with: {parts: $songs}}
  other: {stage: mix, with: {stems: [$first.song], tracks: [{gain: $first.gain}]}}
outputs: {audio: $whole.audio, other: $other.audio}
"""


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros((4410, 2)), 44_100)
    return path


@pytest.mark.parametrize(
    ("name", "cell", "kept"),
    [
        ("duration", 30, 30.0),
        ("seed", 7.0, 7),
        ("seed", "random", "random"),
        ("tags", "@funk", "@funk"),
        ("steps", 27, 27),
    ],
)
def test_cells_become_plain_inputs(name: str, cell: Any, kept: Any) -> None:
    found = reading(scope().graph.inputs[name])(cell)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("duration", "30"), ("duration", True), ("duration", 1e9), ("duration", [30]), ("duration", 10**400),
        ("seed", -1), ("seed", 2**32), ("seed", 1.5), ("seed", "7"), ("seed", None), ("steps", "27"),
        ("tags", 7), ("tags", b"funk"), ("tags", ["funk"]), ("tags", ""), ("tags", "\ud800"), ("solver", "fast"),
    ],
)  # fmt: skip
def test_cells_of_wrong_types_are_refused(name: str, cell: Any) -> None:
    with pytest.raises(InputError, match=name):
        reading(scope().graph.inputs[name])(cell)


def test_spans_stay_as_they_were_written() -> None:
    span = scope("repaint").graph.inputs["span"]
    assert reading(span)([1, 2]) == [1, 2]
    with pytest.raises(InputError, match="span"):
        reading(span)([2, 1])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (PortType("float"), "30", 30),
        (PortType("bool"), "yes", True),
        (PortType("span"), "1:2.5", [1.0, 2.5]),
        (PortType("list", PortType("text")), "a, @b", ["a", "@b"]),
        (PortType("list", PortType("int")), "[1, 2]", [1, 2]),
        (PortType("audio"), "@song.wav", "@song.wav"),
        (PortType("text"), "@/etc/passwd", "@/etc/passwd"),
    ],
)
def test_csv_cells_are_read_by_their_type_and_never_from_files(kind: PortType, text: str, value: Any) -> None:
    assert CellReader().read(text, kind, "x") == value


@pytest.mark.parametrize(("kind", "text"), [("int", "seven"), ("bool", "perhaps"), ("span", "1"), ("seed", "@file")])
def test_csv_cells_that_say_nothing_are_refused(kind: str, text: str) -> None:
    with pytest.raises(InputError):
        CellReader().read(text, PortType(kind), "x")


def test_files_become_absolute_paths_and_are_read_late(song: Path) -> None:
    declared = written(SONGS).graph.inputs
    base = str(song.parent)
    kept = reading(declared["songs"], base)(["song.wav", str(song), "s3://bucket/far.wav"])
    assert kept == [str(song), str(song), "s3://bucket/far.wav"]
    first = reading(declared["first"], base)({"song": "song.wav", "gain": -3})
    reader = InputReader()
    values = opened({"songs": kept[:2], "first": first}, declared, reader)
    assert [type(value) for value in (*values["songs"], values["first"]["song"])] == [Audio] * 3
    assert reader.files == {values["songs"][0].digest: str(song)}
    assert values["first"]["gain"] == -3
    standing = stand_ins({"songs": kept}, declared)
    assert all(isinstance(value, Audio) for value in standing["songs"])


def test_audio_is_read_from_urls(song: Path) -> None:
    declared = {"source": Declaration("source", PortType("audio"))}
    value = opened({"source": song.as_uri()}, declared)["source"]
    assert value.seconds == pytest.approx(0.1)
    with pytest.raises(InputError, match="cannot be read"):
        opened({"source": song.with_name("gone.wav").as_uri()}, declared)
    with pytest.raises(InputError, match="local file"):
        opened({"x": "file:///x.safetensors"}, {"x": Declaration("x", PortType("latents"))})


@pytest.mark.parametrize("path", ["", 7, None, "absent.wav", ".", "a\0b", "../" * 50 + "nowhere.wav"])
def test_paths_that_lead_to_no_file_are_refused(tmp_path: Path, path: Any) -> None:
    with pytest.raises(InputError, match="source"):
        located(path, str(tmp_path), "source")


def test_set_options_keep_files_as_paths(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(song.parent)
    (song.parent / "words.txt").write_text("la la\n")
    types = {"source": PortType("audio"), "lyrics": PortType("text")}
    found = PathReader().inputs(["source=song.wav", "lyrics=@words.txt"], types)
    assert found == {"source": str(song), "lyrics": "la la"}


def test_music_of_a_row_is_what_its_file_holds(song: Path, tmp_path: Path) -> None:
    stored = tmp_path / "song.safetensors"
    stored.write_bytes(encode_value(Latents(np.zeros((8, 16, 3), np.float32))))
    declared = Library(working=None).load("repaint").inputs
    for path, kind in ((song, "audio"), (stored, "latents")):
        assert reading(declared["source"])(str(path)) == str(path)
        inputs = {"source": str(path), "tags": "pop", "span": [0, 0.1]}
        assert stand_ins(inputs, declared)["source"].kind == kind
        assert opened(inputs, declared)["source"].kind == kind


def test_relative_paths_start_from_the_place_of_a_manifest_at_a_url(tmp_path: Path) -> None:
    assert located("a/song 1.wav", "s3://bucket/lists?region=eu", "x") == "s3://bucket/lists/a/song%201.wav?region=eu"
    assert located("../song.wav", "s3://bucket/lists", "x") == "s3://bucket/song.wav"
    assert located("gs://other/song.wav", "s3://bucket/lists", "x") == "gs://other/song.wav"
    with pytest.raises(InputError, match="leads out of"):
        located("../../../song.wav", "s3://bucket/lists", "x")
    (tmp_path / "song.wav").write_bytes(b"")
    assert located(str(tmp_path / "song.wav"), "s3://bucket/lists", "x") == str(tmp_path / "song.wav")


def test_what_cannot_be_read_from_a_url_is_a_bad_cell() -> None:
    read = reading(scope("decode").graph.inputs["latents"], "s3://bucket/lists")
    with pytest.raises(InputError, match=r"latents: 's3://bucket/lists/a\.safetensors' .allowed: a local file"):
        read("a.safetensors")
