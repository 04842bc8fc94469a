"""Texts in graphs: what is accepted can be stored, read again and replayed; what cannot be is refused at every door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acestep_flows.errors import FlowsError, GraphError, InputError
from acestep_flows.graph.language.document import from_plain, plain, read
from acestep_flows.graph.language.parse import parse, parse_plain
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.records.graph_content import graph_content, graph_scope
from acestep_flows.outputs import OutputLeaf
from acestep_flows.session.planned_run import read_graph

KEPT = {
    "emoji": "\U0001f3b5",
    "emoji of several": "\U0001f469\u200d\U0001f3a4",
    "control": "a\x7f\x80b",
    "not a character": "\ufffe\uffff",
    "direction": "\u202e",
    "quotes": "\"'\\ #: - {}[]",
    "words of YAML": "no",
    "dollars": "$$x",
}


def song(**more: Any) -> dict[str, Any]:
    """A graph with a text in each place that may have one."""
    text = more.pop("text", "x")
    return {
        "graph": "mine",
        "version": 1,
        "summary": f"About {text}",
        "inputs": {"tags": {"type": "text", "default": text, "choices": [text, "other"], "description": text}},
        "nodes": {"song": {"graph": "text2music", "with": {"tags": "$tags", "lyrics": "", **more}}},
        "outputs": {"audio": "$song.audio"},
    }


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_a_graph_comes_back_from_its_recipe_the_same(text: str) -> None:
    scope = read_graph(song(text=text))
    stored = json.loads(json.dumps(graph_content(scope)))
    again = graph_scope(stored, "recipe")
    assert again.digest == scope.digest
    assert again.graph.inputs["tags"].default == text
    assert again.graph.summary == f"About {text}"


def test_a_large_graph_of_another_alphabet_comes_back() -> None:
    tags = "\u6708" * 300_000  # 900 kB of UTF-8, 1.8 MB with escapes
    graph = parse("graph: g\nversion: 1\nsummary: " + tags + "\nnodes: {}\noutputs: {}\n")
    assert graph.readable
    assert parse_plain(json.loads(json.dumps(graph.content)), "recipe").summary == tags


@pytest.mark.parametrize("content", [song(), song(text="\U0001f3b5"), {}, {"a": [1, 1.5, True, None, "x", {"b": []}]}])
def test_plain_data_reads_as_the_same_text_would(content: dict[str, Any]) -> None:
    of_text, _ = read(json.dumps(content, ensure_ascii=False))
    of_data, found = from_plain(content)
    assert found == []
    assert of_text is not None
    assert of_data is not None
    assert plain(of_data) == plain(of_text) == content


def deep(levels: int) -> Any:
    content: Any = 1
    for _ in range(levels):
        content = [content]
    return content


@pytest.mark.parametrize("content", [deep(30), deep(20_000), [0] * 300_000, {"a": float("nan")}, {"a": object()}, b"x"])
def test_plain_data_that_is_no_graph_is_a_problem(content: Any) -> None:
    graph = parse_plain({"graph": content}, "g")
    assert graph.problems


UNUSABLE = {
    "300 letters": "x" * 300,
    "long part": "./x/" + "y" * 300,
    "long whole": "/".join(["abcdefgh"] * 600),
    "blank": "  ",
}


@pytest.mark.parametrize("name", UNUSABLE.values(), ids=UNUSABLE)
def test_a_name_that_no_file_system_takes_is_refused_when_planned(name: str) -> None:
    for graph, inputs in (
        (song(adapter=name), {}),
        ("text2music", {"tags": "a", "adapter": name}),
        ({**song(), "nodes": {"song": {"stage": "encode_lyrics", "with": {"lyrics": "", "adapter": name}}}}, {}),
    ):
        with pytest.raises((InputError, GraphError), match="adapter is text") as refused:
            lay_out(read_graph(graph), inputs)
        assert "a name, or the path of a folder, not " in str(refused.value)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_text_that_cannot_be_stored_is_refused_in_graphs_and_inputs(text: str) -> None:
    escaped = "".join(letter if letter.isalnum() and letter.isascii() else f"\\u{ord(letter):04x}" for letter in text)
    for graph in (song(text=text), 'graph: g\nversion: 1\nsummary: "' + escaped + '"\nnodes: {}\noutputs: {}\n'):
        with pytest.raises(FlowsError, match=r"a null character|lone surrogate|not JSON|not valid YAML"):
            read_graph(graph)
    with pytest.raises(InputError, match=r"tags: (a null|an invalid)"):
        lay_out(read_graph("text2music"), {"tags": text})


@pytest.mark.parametrize("target", ["./x/" + "y" * 300, "x" * 300, "a/" * 3000 + "b"])
def test_a_nested_graph_of_an_impossible_name_is_a_problem(target: str, tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({**song(), "nodes": {"song": {"graph": target}}}))
    with pytest.raises(GraphError, match="no graph"):
        read_graph(path)


def test_a_long_label_is_cut_to_a_file_name_of_its_own() -> None:
    leaves = [OutputLeaf(("o", "a" * 64, "b" * 64, "c" * 64, "d" * 60 + end), 1) for end in ("x", "y")]
    names = [leaf.file_stem("s" * 120) for leaf in leaves]
    assert names[0] != names[1]
    assert all(len(name.encode()) < 245 for name in names)
    assert OutputLeaf(("takes", "01"), 1).file_stem("song") == "song-takes-01"
