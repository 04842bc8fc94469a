"""The form of the language: every departure gives one message with file, line and column."""

# ruff: noqa: E501 -- a message stands whole
from __future__ import annotations

import pytest

from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Reference
from acestep_flows.graph.language.types import kinds
from tests.graph.toys import messages

TYPES = ", ".join([*kinds(), "list of ..."])

BASE = """\
graph: g
version: 1
inputs:
  tags: {type: text}
nodes:
  mood: {stage: prompt, with: {tags: $tags}}
outputs: {prompt: $mood.prompt}
"""


def inp(declaration: str) -> str:
    """A graph whose input x, used as a seed, is declared so."""
    return f"""\
graph: g
version: 1
inputs:
  x: {declaration}
nodes:
  n: {{stage: draw, with: {{seed: $x}}}}
outputs: {{o: $n.noise}}
"""


CASES: dict[str, tuple[str | bytes, list[str]]] = {
    "syntax": (
        "graph: [\n",
        ["g.yaml:2:1: not valid YAML: did not find expected node content"],
    ),
    "two documents": (
        "graph: g\n---\ngraph: h\n",
        ["g.yaml:2:1: a second document starts here; a file holds one graph"],
    ),
    "a list as a key": (
        "graph: g\n[a]: 1\n",
        ["g.yaml:2:1: a key must be a word, not a list or a map"],
    ),
    "control character": (
        "graph: \x01\n",
        ["g.yaml: not valid YAML: control characters are not allowed at position 7"],
    ),
    "lone surrogate": (
        'graph: "\\ud800"\n',
        ["g.yaml:1:11: not valid YAML: found invalid Unicode character escape code"],
    ),
    "not UTF-8": (
        b"graph: \xff\n",
        ["g.yaml: not UTF-8 text: invalid start byte at position 7"],
    ),
    "duplicate key": (
        BASE.replace("version: 1\n", "version: 1\nversion: 1\n"),
        ["g.yaml:3:1: key 'version' occurs twice; the first is in line 2"],
    ),
    "anchor": (
        "graph: &a g\n",
        ["g.yaml:1:8: anchor &a: anchors are not part of the language; remove it"],
    ),
    "alias": (
        "graph: *a\n",
        ["g.yaml:1:8: alias *a: aliases are not part of the language; write the value"],
    ),
    "tag": (
        "graph: !!python/name:os.system x\n",
        ["g.yaml:1:8: tag tag:yaml.org,2002:python/name:os.system: tags are not part of the language; remove it"],
    ),
    "10 MB is too large": (
        "#" * 1_000_001,
        ["g.yaml: the file is larger than 1000000 bytes, which no graph needs"],
    ),
    "too many values": (
        "x: [" + "1," * 50_000 + "]",
        ["g.yaml:1:99999: more than 50000 keys and values, which no graph needs"],
    ),
    "too deep": (
        "x: " + "[" * 30,
        ["g.yaml:1:23: lists and maps nested deeper than 20, which no graph needs"],
    ),
    "not finite": (
        BASE.replace("$tags}}", "$tags, x: .inf}}"),
        [
            "g.yaml:6:45: node mood: stage prompt has no input 'x'; allowed: tags",
            "g.yaml:6:48: .inf is not a finite number",
        ],
    ),
    "a list": (
        "- 1\n",
        ["g.yaml:1:1: a graph is a map with graph, version, summary, use, inputs, nodes, outputs; found a list of 1"],
    ),
    "nothing": (
        "",
        ["g.yaml:1:1: a graph is a map with graph, version, summary, use, inputs, nodes, outputs; found null"],
    ),
    "a word": (
        "hello",
        ["g.yaml:1:1: a graph is a map with graph, version, summary, use, inputs, nodes, outputs; found text 'hello'"],
    ),
    "unknown key": (
        BASE + "output: 1\n",
        [
            "g.yaml:8:1: a graph has no key 'output', nearest 'outputs'; allowed: graph, version, summary, use, inputs, nodes, outputs"
        ],
    ),
    "missing keys": (
        "graph: g\n",
        ["g.yaml:1:1: the graph lacks version, nodes, outputs"],
    ),
    "version": (
        BASE.replace("version: 1", "version: 2"),
        ["g.yaml:2:10: version is 2; allowed: 1"],
    ),
    "graph name": (
        BASE.replace("graph: g", "graph: My Song"),
        [
            "g.yaml:1:8: 'My Song' is no name for a graph; allowed: lower-case letters, digits and single hyphens, a letter first, at most 64 characters"
        ],
    ),
    "graph name is no text": (
        BASE.replace("graph: g", "graph: 7"),
        ["g.yaml:1:8: graph: takes text; found 7"],
    ),
    "input name": (
        BASE.replace("tags: {type", "Tags: {type").replace("$tags", "a"),
        [
            "g.yaml:4:3: 'Tags' is no name for an input; allowed: lower-case letters, digits and underscores, a letter first, at most 64 characters"
        ],
    ),
    "node name": (
        BASE.replace("mood:", "mood-1:").replace("$mood.prompt", "$tags"),
        [
            "g.yaml:6:3: 'mood-1' is no name for a node; allowed: lower-case letters, digits and underscores, a letter first, at most 64 characters"
        ],
    ),
    "inputs are no map": (
        BASE.replace("inputs:\n  tags: {type: text}", "inputs: [tags]"),
        [
            "g.yaml:3:9: inputs: takes a map; found a list of 1",
            "g.yaml:5:38: node mood: $tags points at nothing: no input or node 'tags'; allowed: mood",
        ],
    ),
    "node is no map": (
        BASE.replace("{stage: prompt, with: {tags: $tags}}", "prompt"),
        [
            "g.yaml:6:9: node mood: a node is a map with stage, graph, use, with, each, fold, carry, when, otherwise; found text 'prompt'"
        ],
    ),
    "unknown key of a node": (
        BASE.replace("with:", "wiht:"),
        [
            "g.yaml:6:3: node mood: stage prompt needs tags (text), which is not given",
            "g.yaml:6:25: node mood: a node has no key 'wiht', nearest 'with'; allowed: stage, graph, use, with, each, fold, carry, when, otherwise",
        ],
    ),
    "neither stage nor graph": (
        BASE.replace("stage: prompt, ", ""),
        ["g.yaml:6:3: node mood: a node has either stage: or graph:; found neither"],
    ),
    "stage and graph": (
        BASE.replace("stage: prompt", "stage: prompt, graph: song"),
        ["g.yaml:6:3: node mood: a node has either stage: or graph:; found both"],
    ),
    "empty stage": (
        BASE.replace("stage: prompt", 'stage: ""'),
        ["g.yaml:6:17: node mood: stage: is empty; allowed: the name of a stage"],
    ),
    "bad reference": (
        BASE.replace("$tags", "$tags!"),
        [
            "g.yaml:6:38: node mood: '$tags!' is no reference; allowed: $name, $name.part, or $$ for a text that starts with $"
        ],
    ),
    "output without reference": (
        BASE.replace("$mood.prompt", "a"),
        [
            "g.yaml:6:3: node mood: this node is not used by any output; outputs: prompt",
            "g.yaml:7:19: output prompt refers to nothing; found text 'a'; allowed: $node.port",
        ],
    ),
    "when without reference": (
        BASE.replace("}}\nout", "}, when: true}\nout"),
        ["g.yaml:6:52: node mood: when: takes one reference to a bool; found true"],
    ),
    "input is no map": (
        inp("seed"),
        ["g.yaml:4:6: input x takes a map such as {type: text}; found text 'seed'"],
    ),
    "input without type": (
        inp("{default: 1}"),
        [f"g.yaml:4:3: input x lacks type; allowed: {TYPES}"],
    ),
    "unknown type": (
        inp("{type: sead}"),
        [f"g.yaml:4:13: input x has no type 'sead', nearest 'seed'; allowed: {TYPES}"],
    ),
    "unknown key of an input": (
        inp("{type: seed, defualt: 1}"),
        [
            "g.yaml:4:19: input x has no key 'defualt', nearest 'default'; allowed: type, fields, default, minimum, maximum, shortest, longest, choices, unit, at_most, within, lengthens, advanced, similar, description"
        ],
    ),
    "fields of no record": (
        inp("{type: seed, fields: {a: {type: int}}}"),
        ["g.yaml:4:19: input x has fields:, which only a record has; found type seed"],
    ),
    "record without fields": (
        inp("{type: record}"),
        ["g.yaml:4:6: input x is a record without fields:"],
    ),
    "minimum of no number": (
        inp("{type: text, minimum: 1}"),
        [
            "g.yaml:4:19: input x has minimum:, which only numbers have (int, float, seed); found type text",
            "g.yaml:6:33: node n: seed takes seed; $x is text",
        ],
    ),
    "minimum is no number": (
        inp("{type: int, minimum: low}"),
        ["g.yaml:4:27: input x: minimum takes a number; found text 'low'"],
    ),
    "shortest of no text": (
        inp("{type: int, shortest: 1}"),
        ["g.yaml:4:18: input x has shortest:, which only texts and lists have; found type int"],
    ),
    "longest below zero": (
        inp("{type: text, longest: -1}"),
        [
            "g.yaml:4:28: input x: longest takes a whole number, 0 or more; found -1",
            "g.yaml:6:33: node n: seed takes seed; $x is text",
        ],
    ),
    "minimum above maximum": (
        inp("{type: int, minimum: 3, maximum: 2}"),
        ["g.yaml:4:27: input x: minimum 3 is above maximum 2"],
    ),
    "choices of a bool": (
        inp("{type: bool, choices: [true]}"),
        [
            "g.yaml:4:19: input x has choices:, which only text and numbers have; found type bool",
            "g.yaml:6:33: node n: seed takes seed; $x is bool",
        ],
    ),
    "choices are no list": (
        inp("{type: int, choices: 3}"),
        ["g.yaml:4:27: input x: choices takes a list of values; found 3"],
    ),
    "choice of another type": (
        inp("{type: int, choices: [1, b]}"),
        ["g.yaml:4:31: input x: choice: text 'b' (allowed: a whole number)"],
    ),
    "default out of range": (
        inp("{type: int, default: 300, maximum: 200}"),
        ["g.yaml:4:27: input x: default: 300 (allowed: at most 200)"],
    ),
    "default audio": (
        inp("{type: audio, default: song.wav}"),
        [
            "g.yaml:4:29: input x: a default of type audio cannot be written down; allowed: null, which makes it optional",
            "g.yaml:6:33: node n: seed takes seed; $x is audio",
        ],
    ),
    "default seed": (
        inp("{type: seed, default: -1}"),
        ["g.yaml:4:28: input x: default: -1 (allowed: 0 to 4294967295, or 'random')"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_form(text: str | bytes, expected: list[str]) -> None:
    assert messages(text) == expected


def test_everything_wrong_is_said_at_once() -> None:
    lines = messages("graph: My\nversion: 3\nsumary: x\ninputs: {a: {type: txt}}\nnodes: []\noutputs: {o: 1}\n")
    assert [line.split(": ")[0] for line in lines] == [
        "g.yaml:1:8",
        "g.yaml:2:10",
        "g.yaml:3:1",
        "g.yaml:4:20",
        "g.yaml:5:8",
        "g.yaml:6:14",
    ]


def test_two_dollars_are_a_text_that_starts_with_one() -> None:
    graph = parse(BASE.replace("$tags", "$$tags").replace("inputs:\n  tags: {type: text}\n", ""))
    assert graph.nodes["mood"].arguments.entries["tags"].value == "$tags"


def test_a_dollar_inside_a_text_is_text() -> None:
    assert messages(BASE.replace("{tags: $tags}", "{tags: costs 5$}").replace("  tags: {type: text}", "")) == []


def test_references_keep_their_place() -> None:
    graph = parse(BASE)
    assert graph.nodes["mood"].arguments.entries["tags"] == Reference("tags", (), (6, 38))  # type: ignore[arg-type]
    assert graph.inputs["tags"].place == (4, 3)


@pytest.mark.parametrize("key", ["../../x", "/etc/passwd", "..", "a.b", "Bass"])
def test_parts_of_outputs_have_names_and_no_paths(key: str) -> None:
    for outputs in (f"{{o: {{{key}: $mood.prompt}}}}", f"{{o: [{{a: {{{key}: $mood.prompt}}}}]}}"):
        (message,) = messages(BASE.replace("{prompt: $mood.prompt}", outputs))
        assert f"{key!r} is no name for a part of an output" in message
