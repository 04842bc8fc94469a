"""Bad graphs, inputs and options: one clear error each, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows import FlowsError, Session
from acestep_flows.errors import CheckpointError, GraphError, InputError, NotFound
from acestep_flows.graph.execution.events import Event
from tests.session.songs import CLASHING, SONG, SOURCE


@pytest.mark.parametrize(
    ("graph", "inputs", "kind", "message"),
    [
        ("text2musik", SONG, NotFound, "no graph 'text2musik', nearest 'text2music'; allowed: "),
        ("nowhere.yaml", {}, NotFound, "no graph file 'nowhere.yaml'"),
        ("x/" + 300 * "y", {}, NotFound, "no graph file 'x/yyy"),
        (300 * "y", {}, NotFound, "no graph 'yyy"),
        ("x/\0", {}, NotFound, "no graph file 'x/"),
        (Path("text2music"), {}, NotFound, "no graph file 'text2music'"),
        (7, {}, InputError, "graph: 7 .*the name of a graph, the path of a graph file"),
        ({"graph": object()}, {}, InputError, "graph: not JSON"),
        ({"graph": "x"}, {}, GraphError, "version"),
        ("graph: x\nversion: 1\nnodes: {a: {stage: vocod}}\noutputs: {a: $a.b}\n", {}, GraphError, "no stage 'vocod'"),
        ("text2music", {**SONG, "tagz": "x"}, InputError, "no input 'tagz', nearest 'tags'; allowed: tags, lyrics"),
        ("text2music", {}, InputError, "tags: missing"),
        ("text2music", {**SONG, "tags": 3}, InputError, r"tags: 3 \(allowed: text\)"),
        ("text2music", {**SONG, "steps": 2.5}, InputError, "steps: 2.5 .*a whole number"),
        ("text2music", {**SONG, "duration": "1:30"}, InputError, "^duration: text '1:30'; write 90 .*a finite number"),
        ("text2music", {**SONG, "steps": "20"}, InputError, "^steps: text '20'; write 20 .*a whole number"),
        ("repaint", {"source": SOURCE, "tags": "a", "span": "4-7"}, InputError, r"span: text '4-7'; write \[4, 7\]"),
        ("text2music", {**SONG, "steps": 0}, InputError, "steps: 0 .*1 to 200"),
        ("text2music", {**SONG, "seed": -1}, InputError, "seed: -1"),
        ("text2music", {**SONG, "duration": np.float64("nan")}, InputError, "duration: "),
        ("text2music", {**SONG, "lyrics": Path("nowhere.txt")}, InputError, "lyrics: cannot read nowhere.txt"),
        ("text2music", {**SONG, "cache": "on"}, InputError, "cache: text 'on' .*use, refresh, off"),
        ("text2music", {**SONG, "deadline": 0}, InputError, "deadline: 0 .*more than 0 seconds"),
        ("text2music", {**SONG, "deadline": "soon"}, InputError, "deadline: text 'soon'"),
        ("text2music", {"inputs": {"tags": "a"}, "tags": "b"}, InputError, "tags: given twice"),
        ("text2music", {"inputs": ["a"]}, InputError, "inputs: a list of 1 .*a map of inputs by name"),
        ("text2music", {"inputs": {1: "a"}}, InputError, "inputs: 1 .*names of inputs"),
        ("decode", {"latents": 3}, InputError, "latents: 3 .*Latents, or the path of a file with it"),
        ("decode", {"latents": SOURCE}, InputError, "latents: a value of type audio .*Latents"),
        ("decode", {"latents": np.zeros((2, 3))}, InputError, "latents.array: shape .2, 3. .*8, 16, frames"),
        ("decode", {"latents": "nowhere.safetensors"}, InputError, "cannot read nowhere.safetensors"),
        (
            "repaint",
            {"source": "nowhere.wav", "tags": "a", "span": (0, 1)},
            InputError,
            "nowhere.wav: cannot be opened",
        ),
        (
            "repaint",
            {"source": np.zeros((2, 9)), "tags": "a"},
            InputError,
            r"source: a bare array .*Audio\(samples, sam",
        ),
        ("repaint", {"source": SOURCE, "tags": "a", "span": (1, 0)}, InputError, "span: 1 to 0 s"),
        (
            CLASHING,
            {"source": SOURCE, "cache": "use"},
            InputError,
            r"progress: an option of the run and an input .*inputs={",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    session: Session, graph: Any, inputs: dict[str, Any], kind: type[FlowsError], message: str
) -> None:
    events: list[Event] = []
    with pytest.raises(kind, match=message) as error:
        session.start(graph, **inputs, progress=events.append)
    assert len(str(error.value).splitlines()) == 1 or kind is GraphError
    assert events == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"weights": "nowhere"}, CheckpointError, "^weights: no folder .*nowhere .*'embedded'"),
        ({"weights": ""}, InputError, "^weights: empty"),
        ({"weights": 3}, InputError, "^weights: 3"),
        ({"weights": 300 * "n"}, InputError, "^weights: a name of 300 bytes in the path 'nnn.*at most 255"),
        ({"weights": "~nobody-of-this-name/x"}, InputError, "^weights: no home folder"),
        ({"weights": "embedded", "lyric_vocab": "x"}, InputError, "^lyric_vocab: the embedded model .*weights=DIR"),
        ({"weights": "embedded", "device": "tpu"}, InputError, "^device: no device 'tpu' .*auto, cpu"),
        (
            {"weights": "embedded", "dtype": "float16"},
            InputError,
            "^dtype: no dtype 'float16'.*auto, float32",
        ),
        ({"weights": "embedded", "cache": "no"}, InputError, "^cache: text 'no' .*use, refresh, off"),
        ({"weights": "embedded", "deadline": -1}, InputError, "^deadline: -1"),
        ({"weights": "embedded", "graph_folders": ["nowhere"]}, NotFound, "nowhere is no folder to look for graphs in"),
        ({"weights": "embedded", "graph_folders": Path("no")}, NotFound, "^no is no folder to look for graphs in"),
        ({"weights": "embedded", "graph_folders": 3}, InputError, "^graph_folders: 3 .*a list"),
        ({"weights": "embedded", "graph_folders": [3]}, InputError, "^graph_folders: 3 .*a path"),
        ({"weights": "embedded", "cache_folder": 3}, InputError, "^cache_folder: 3 .*a path"),
        ({"weights": "embedded", "lyric_vocab": 3}, InputError, "^lyric_vocab: 3 .*a path"),
        (
            {"weights": "embedded", "graph_folders": 300 * "n"},
            InputError,
            "^graph_folders: a name of 300 bytes",
        ),
        ({"weights": "embedded", "cache_folder": 300 * "n"}, InputError, "^cache_folder: a name of 300 bytes"),
    ],
)
def test_bad_options_of_a_session_are_one_line(options: dict[str, Any], kind: type[FlowsError], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        Session(**options)
    assert len(str(error.value).splitlines()) == 1
