"""Files, words and adapters as people have them: run, a server and a bulk job take them alike, or refuse them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.bulk.inputs import opened
from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.input_reader import InputReader
from acestep_flows.model.checkpoint import LYRIC_VOCAB_FILE, Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.session.inputs import read_inputs
from acestep_flows.stages.adapted_networks import AdapterCache
from acestep_flows.stages.ports import PortType
from acestep_flows.text.lyrics import LyricTokenizer
from acestep_flows.values import Audio
from tests.api.door import Door
from tests.bulk.manifests import rows_of, scope

Outcome = tuple[str, Any]
"""`read` and what came of it, or `refused` and why."""


def folder(request: pytest.FixtureRequest, name: str) -> Path:
    found = Path(request.config.getoption("--reference")).parent / "cases" / name
    if not found.is_dir():
        pytest.skip(f"no {found}")
    return found


def outcome(read: Callable[[], Any]) -> Outcome:
    try:
        return "read", read()
    except (InputError, CheckpointError) as error:
        return "refused", error.what


def measured(audio: Any) -> Any:
    assert isinstance(audio, Audio)
    return round(audio.seconds, 2), audio.sample_rate, audio.channels, audio.notes, audio.digest


# Audio. The decoder's words are compared; where a file is named, doors name it by their own words.


def audio_of_run(file: Path) -> Outcome:
    """`--set reference=FILE`, and the same from Python."""
    typed = outcome(lambda: InputReader().inputs([f"reference={file}"], {"reference": PortType("audio")})["reference"])
    given = outcome(lambda: read_inputs({"reference": file}, {"reference": PortType("audio")})[0]["reference"])
    assert typed == given
    return (typed[0], measured(typed[1])) if typed[0] == "read" else typed


def audio_of_server(door: Door, file: Path) -> Outcome:
    """An upload, and what a run then opens."""
    response = door.upload(file.read_bytes(), file.name)
    if response.status_code != 201:
        assert response.status_code == 422
        message: str = response.json()["error"]["message"]
        return "refused", message.removeprefix("upload: ").removeprefix(f"{file.name}: ").partition(" (allowed")[0]
    uploaded = response.json()
    audio = door.home.assets.value(uploaded["id"], "audio")
    assert uploaded["details"]["seconds"] == pytest.approx(audio.seconds, abs=0.001)  # type: ignore[attr-defined]
    return "read", measured(audio)


def audio_of_bulk(tmp_path: Path, file: Path) -> Outcome:
    """A row of a manifest, opened where the song is made."""
    (row,) = rows_of(tmp_path, [{"reference": str(file), "tags": "x"}], "audio2audio")
    assert row.problem is None
    result = outcome(lambda: opened(row.inputs, scope("audio2audio").graph.inputs)["reference"])
    return (result[0], measured(result[1])) if result[0] == "read" else result


def test_audio(request: pytest.FixtureRequest, door: Door, tmp_path: Path) -> None:
    outcomes = {}
    for file in sorted(folder(request, "audio").iterdir()):
        outcomes[file.name] = audio_of_run(file)
        assert audio_of_server(door, file) == outcomes[file.name], file.name
        assert audio_of_bulk(tmp_path, file) == outcomes[file.name], file.name
    assert {name for name, (kind, _) in outcomes.items() if kind == "refused"} == {
        "cut.mp3", "ff.m4a", "wav_info_hang.wav"
    }  # fmt: skip


# Words. Every door gives the stage the same text, which one tokenizer then reads.


def words_of_run(file: Path, name: str) -> str:
    """`--set lyrics=@FILE`, and the file's path from Python."""
    typed = InputReader().inputs([f"{name}=@{file}"], {name: PortType("text")})[name]
    given = read_inputs({name: file}, {name: PortType("text")})[0][name]
    assert typed == given
    return str(typed)


def words_of_server(door: Door, inputs: Mapping[str, Any], name: str) -> str:
    """What an accepted run keeps."""
    run = door.submit("text2music", inputs)
    assert door.client.delete(f"/v1/runs/{run['id']}").status_code == 202
    return str(run["inputs"][name])


def words_of_bulk(tmp_path: Path, inputs: Mapping[str, Any], name: str) -> str:
    (row,) = rows_of(tmp_path, [inputs])
    assert row.problem is None
    return str(row.inputs[name])


def test_words(request: pytest.FixtureRequest, waiting: Door, tmp_path: Path) -> None:
    tokenizer = LyricTokenizer(embedded_checkpoint() / LYRIC_VOCAB_FILE)
    for file in sorted(folder(request, "lyrics").iterdir()):
        name = "tags" if file.name.startswith("tags") else "lyrics"
        text = words_of_run(file, name)
        inputs = {"tags": "piano", "duration": 1, "steps": 1, "seed": 1} | {name: text}
        assert words_of_server(waiting, inputs, name) == text, file.name
        assert words_of_bulk(tmp_path, inputs, name) == text, file.name
        if name == "lyrics":
            read, whole = (
                tokenizer.encode(words, compatibility="corrected") for words in (text, file.read_bytes().decode())
            )
            assert read.warnings == whole.warnings
            assert [line.normalized for line in read.lines if line.text] == [
                line.normalized for line in whole.lines if line.text
            ]


# Adapters. A path in `run` and in rows, a name in a folder of the server's; all load in the same place.


def loaded(checkpoint: Checkpoint, name: str) -> Outcome:
    kind, adapter = outcome(lambda: AdapterCache[Any]().under(checkpoint, None, name, 1.0, lambda found: found))
    return (kind, sorted(adapter.layers)) if kind == "read" else (kind, adapter)


def test_adapters(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    in_process = Checkpoint.open(embedded_checkpoint())
    served = Checkpoint.open(embedded_checkpoint(), extras=[tmp_path], paths=False)
    outcomes = {}
    for file in sorted(folder(request, "lora").iterdir()):
        own = tmp_path / "adapters" / file.stem
        own.mkdir(parents=True)
        (own / "pytorch_lora_weights.safetensors").write_bytes(file.read_bytes())
        (row,) = rows_of(tmp_path, [{"tags": "x", "adapter": str(file)}])
        assert row.problem is None
        outcomes[file.stem] = loaded(in_process, str(file))
        assert loaded(in_process, row.inputs["adapter"]) == outcomes[file.stem]
        assert loaded(served, file.stem) == outcomes[file.stem]
    refused = {name for name, (kind, _) in outcomes.items() if kind == "refused"}
    assert refused == {"rank_mismatch", "wrong_width", "zero_rank"}
