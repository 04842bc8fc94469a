"""What `--set` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from acestep_flows.errors import InputError
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, Latents, Mel

TEXT, INT, FLOAT, SEED, SPAN = (PortType(kind) for kind in ("text", "int", "float", "seed", "span"))
TAKE = PortType("record", fields=(("audio", PortType("audio")), ("gain", FLOAT)))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (TEXT, "pop, 120 bpm", "pop, 120 bpm"),
        (TEXT, "", ""),
        (TEXT, "a=b", "a=b"),
        (TEXT, "@@home", "@home"),
        (TEXT, "  kept  ", "  kept  "),
        (INT, "27", 27),
        (INT, "2.5", 2.5),  # read as it stands; the graph refuses it
        (FLOAT, "30", 30.0),
        (FLOAT, "1e-3", 0.001),
        (SEED, "7", 7),
        (SEED, "random", "random"),
        (PortType("bool"), "yes", True),
        (PortType("bool"), "FALSE", False),
        (SPAN, "12:20.5", [12.0, 20.5]),
        (SPAN, "12, 20.5", [12.0, 20.5]),
        (SPAN, "[12, 20.5]", [12, 20.5]),
        (PortType("list", SEED), "1,2,random", [1, 2, "random"]),
        (PortType("list", SEED), "[1, 2]", [1, 2]),
        (PortType("list", TEXT), "one, with comma\ntwo\n", ["one, with comma", "two"]),
        (PortType("list", TAKE), '[{"gain": -3}]', [{"gain": -3}]),
        (PortType("float", optional=True), "null", None),
        (TEXT, "null", "null"),
    ],
)
def test_text_is_read_by_type(kind: PortType, text: str, value: Any) -> None:
    read = InputReader().read(text, kind, "it")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (INT, "many", r"it: 'many' is not a number \(allowed: a whole number\)"),
        (FLOAT, "", r"it: empty \(allowed: a number\)"),
        (PortType("bool"), "maybe", r"it: 'maybe' is neither true nor false"),
        (SPAN, "12", "it: '12' .*start:end"),
        (SPAN, "1:2:3", "it: '1:2:3' can be read as 1:02 to 3 s or as 1 s to 2:03 .*start-end"),
        (PortType("list", TEXT), "", r"it: empty \(allowed: it="),
        (TAKE, "{", "it: '{' is not JSON"),
        (PortType("list", TAKE), "[" * 100_000, "it: .*is not JSON"),
        (PortType("list", INT), "1,x", r"it\[1\]: 'x' is not a number"),
        (TEXT, "@/nowhere/at/all", "it: cannot read /nowhere/at/all: No such file"),
        (TEXT, "@/", "it: cannot read /: Is a directory"),
        (PortType("latents"), "/nowhere", "it: cannot read /nowhere"),
        (PortType("audio"), "/nowhere", r"^it: /nowhere: cannot be opened: No such file or directory \(allowed: "),
        (PortType("list", TAKE), '[{"audio": "/nowhere"}]', r"^it\[0\]\.audio: /nowhere: cannot be opened: "),
    ],
)
def test_text_that_cannot_be_read_says_why(kind: PortType, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        InputReader().read(text, kind, "it")


def test_an_enormous_number_is_no_work() -> None:
    assert InputReader().read("9" * 1_000_000, INT, "it") == float("inf")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[verse]\nHi\n", "[verse]\nHi"),
        (b"\xef\xbb\xbfwith mark\r\nand returns\r\n", "with mark\nand returns"),
        (b"", ""),
    ],
)
def test_a_file_gives_its_text(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "song.txt").write_bytes(content)
    assert InputReader().read(f"@{tmp_path}/song.txt", TEXT, "lyrics") == text


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "song.txt").write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"lyrics: .*song\.txt is not UTF-8 text \(byte 2\)"):
        InputReader().read(f"@{tmp_path}/song.txt", TEXT, "lyrics")


def test_a_file_gives_json_too(tmp_path: Path) -> None:
    (tmp_path / "seeds.json").write_text("[1, 2]\n")
    assert InputReader().read(f"@{tmp_path}/seeds.json", PortType("list", SEED), "seeds") == [1, 2]


@pytest.mark.parametrize("at", ["", "@"])
def test_audio_and_latents_are_read_from_files(tmp_path: Path, at: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 48_000)
    audio = InputReader().read(f"{at}{tmp_path}/a.wav", PortType("audio"), "source")
    assert isinstance(audio, Audio)
    latents = Latents(np.zeros((8, 16, 3), np.float32))
    (tmp_path / "l.safetensors").write_bytes(encode_value(latents))
    assert InputReader().read(f"{at}{tmp_path}/l.safetensors", PortType("latents"), "source") == latents
    reader = InputReader()
    takes = reader.read(f'[{{"audio": "{tmp_path}/a.wav", "gain": 0, "other": 1}}]', PortType("list", TAKE), "takes")
    assert takes == [{"audio": audio, "gain": 0, "other": 1}]
    assert reader.files == {audio.digest: f"{tmp_path}/a.wav"}


def test_options_become_inputs() -> None:
    types = {"tags": TEXT, "steps": INT}
    assert InputReader().inputs(["tags=a, b", "steps=3"], types) == {"tags": "a, b", "steps": 3}
    assert InputReader().inputs([], types) == {}
    assert InputReader().inputs(["takes[2].seed=7"], types) == {"takes[2].seed": 7}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tags"], "--set: 'tags' has no value"),
        (["=x"], "--set: '=x' has no name"),
        (["tags:folk, piano"], "--set: 'tags:folk, piano' has no value; write tags=folk, piano "),
        (["steps 3"], "--set: 'steps 3' has no value; write steps=3 "),
        (["stepz:3"], r"--set: 'stepz:3' has no value \(allowed: "),
        (["stepz=3"], r"stepz: no such input; did you mean steps\? \(allowed: tags, steps\)"),
        (["tags=a", "tags=b"], "tags: given twice"),
    ],
)
def test_options_that_are_none(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        InputReader().inputs(settings, {"tags": TEXT, "steps": INT})


def test_music_is_what_its_file_holds(tmp_path: Path) -> None:
    latents, sound = Latents(np.zeros((8, 16, 3), np.float32)), tmp_path / "song.safetensors.wav"
    soundfile.write(sound, np.zeros((4410, 2)), 44_100)
    stored = tmp_path / "no-suffix"
    stored.write_bytes(encode_value(latents))
    reader, music = InputReader(), PortType("music")
    assert reader.read(f"@{stored}", music, "source") == latents
    assert reader.read(str(sound), music, "source").kind == "audio"
    assert sorted(reader.files.values()) == sorted([str(stored), str(sound)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mel.bin", encode_value(Mel(np.zeros((2, 128, 8), np.float32))), r"source: .*mel\.bin holds mel"),
        ("torn.safetensors", b"torn", r"source: cannot read .*torn\.safetensors"),
        ("text.txt", b"la la", r"source: .*text\.txt: .*; or a file of latents\)"),
    ],
)
def test_what_is_neither_audio_nor_latents_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        InputReader().read(str(tmp_path / name), PortType("music"), "source")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://example.org/a.wav", "is a URL, and nothing is downloaded .*download it first"),
        (f"run-{'0' * 26}/audio", "is the output of a run on a server .*fetch-output run-0+ writes it; submit"),
    ],
)
def test_music_that_is_elsewhere_is_told_how_to_give(text: str, told: str) -> None:
    for kind in ("audio", "music", "latents"):
        with pytest.raises(InputError, match=f"^source: .*{told}"):
            InputReader().read(text, PortType(kind), "source")
