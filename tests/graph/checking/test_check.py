"""The rules of meaning: every problem gives one message that names both sides and the place."""

# ruff: noqa: E501 -- a message stands whole
from __future__ import annotations

import time

import pytest

from acestep_flows.errors import GraphError, Problem
from acestep_flows.graph.checking.check import MOST_PROBLEMS, check, checked
from acestep_flows.graph.language.parse import parse
from acestep_flows.stages.registry import stages
from tests.graph.toys import REGISTRY, SONG, messages, problems, shelf


def body(nodes: str, outputs: str = "{o: $n.latents}", inputs: str = "{}") -> str:
    """A graph with a prompt, noise and a take, then `nodes` from line 8 on."""
    return f"""\
graph: g
version: 1
inputs: {inputs}
nodes:
  mood: {{stage: prompt, with: {{tags: a}}}}
  noise: {{stage: draw, with: {{seed: 1}}}}
  take: {{stage: sing, with: {{prompt: $mood, noise: $noise}}}}
{nodes}outputs: {outputs}
"""


CASES: dict[str, tuple[str, list[str]]] = {
    "unknown stage": (
        body("  n: {stage: piant, with: {source: $take.latents}}\n"),
        [
            "g.yaml:8:14: node n: no stage 'piant', nearest 'paint'; allowed: blend, draw, paint, prompt, sing, sound, split, words"
        ],
    ),
    "unknown graph": (
        body("  n: {graph: sogn, with: {}}\n", "{o: $n.audio, p: $take.latents}"),
        ["g.yaml:8:14: node n: no graph 'sogn'; allowed: song"],
    ),
    "node named as an input": (
        body("  n: {stage: paint, with: {source: $take.latents}}\n", inputs="{n: {type: int}}"),
        ["g.yaml:8:3: node n: 'n' is also an input (line 3); allowed: another name"],
    ),
    "variable named as a node": (
        body("  n: {each: {take: [1]}, stage: paint, with: {source: $noise}}\n", "{o: $n.latents, p: $take.latents}"),
        [
            "g.yaml:8:14: node n: variable 'take' is also a node (line 7); allowed: another name",
            "g.yaml:8:55: node n: source takes latents; $noise is noise",
        ],
    ),
    "dangling reference": (
        body("  n: {stage: paint, with: {source: $tak.latents}}\n"),
        [
            "g.yaml:8:36: node n: $tak.latents points at nothing: no input or node 'tak', nearest 'take'; allowed: mood, noise, take, n"
        ],
    ),
    "unknown port": (
        body("  n: {stage: paint, with: {source: $take.latent}}\n"),
        ["g.yaml:8:36: node n: $take.latent: no output 'latent', nearest 'latents'; allowed: latents, report"],
    ),
    "field of a port": (
        body("  n: {stage: paint, with: {source: $take.latents.x}}\n"),
        [
            "g.yaml:8:36: node n: $take.latents.x: an output of a node has no fields; allowed: $take.latents, $take.report"
        ],
    ),
    "unknown field": (
        body(
            "  n: {stage: paint, with: {source: $take.latents, strength: $x.b}}\n",
            inputs="{x: {type: record, fields: {a: {type: float}}}}",
        ),
        ["g.yaml:8:61: node n: $x.b: no field 'b'; allowed: a"],
    ),
    "field of no record": (
        body("  n: {stage: paint, with: {source: $take.latents, strength: $x.b}}\n", inputs="{x: {type: float}}"),
        ["g.yaml:8:61: node n: $x.b: $x is of type float and has no fields"],
    ),
    "ambiguous reference": (
        body("  n: {stage: paint, with: {source: $take.latents}}\n", "{o: $n}"),
        ["g.yaml:9:14: $n: node n has 2 outputs; allowed: $n.latents (latents), $n.report (report)"],
    ),
    "variable outside with": (
        body("  n: {each: {x: $x}, stage: paint, with: {source: $take.latents, strength: $x}}\n"),
        ["g.yaml:8:17: node n: $x is a variable of this node, known only in its with:"],
    ),
    "missing input": (
        body("  n: {stage: paint}\n", "{o: $n.latents, p: $take.latents}"),
        ["g.yaml:8:3: node n: stage paint needs source (latents), which is not given"],
    ),
    "extra input": (
        body("  n: {stage: paint, with: {source: $take.latents, strenght: 1}}\n"),
        [
            "g.yaml:8:51: node n: stage paint has no input 'strenght', nearest 'strength'; allowed: source, span, strength, label, voice"
        ],
    ),
    "edge of another type": (
        body("  n: {stage: paint, with: {source: $mood}}\n", "{o: $n.latents, p: $take.latents}"),
        ["g.yaml:8:36: node n: source takes latents; $mood is prompt"],
    ),
    "text for a number": (
        body("  n: {stage: paint, with: {source: $take.latents, strength: high}}\n"),
        ["g.yaml:8:61: node n: strength takes a finite number; found text 'high'"],
    ),
    "text for latents": (
        body("  n: {stage: paint, with: {source: song.wav}}\n", "{o: $n.latents, p: $take.latents}"),
        ["g.yaml:8:36: node n: source takes latents; found text 'song.wav'"],
    ),
    "number for a span": (
        body("  n: {stage: paint, with: {source: $take.latents, span: 3}}\n"),
        ["g.yaml:8:57: node n: span takes [start, end] or {start: ..., end: ...}, in seconds; found 3"],
    ),
    "short reference inside a span": (
        body("  n: {stage: paint, with: {source: $take.latents, span: [1, $take]}}\n"),
        [
            "g.yaml:8:61: node n: $take: node take has 2 outputs; allowed: $take.latents (latents), $take.report (report)"
        ],
    ),
    "one for a list": (
        body("  n: {stage: blend, with: {tracks: $take.latents}}\n", "{o: $n}"),
        ["g.yaml:8:36: node n: tracks takes list of audio; $take.latents is latents"],
    ),
    "inside a list": (
        body("  n: {stage: blend, with: {tracks: [$take, 3], gains: 4}}\n", "{o: $n}"),
        [
            "g.yaml:8:37: node n: $take: node take has no output of type audio; allowed: $take.latents (latents), $take.report (report)",
            "g.yaml:8:44: node n: tracks takes audio; found 3",
            "g.yaml:8:55: node n: gains takes list of float; found 4",
        ],
    ),
    "parameter and span out of range": (
        body("  n: {stage: paint, with: {source: $take.latents, strength: 1.5, span: [5, 2]}}\n"),
        [
            "g.yaml:8:61: node n: strength is 1.5; allowed: 0 to 1",
            "g.yaml:8:72: node n: span takes 0 <= start < end, in seconds; found 5 to 2 s",
        ],
    ),
    "several parameters out of range": (
        body(
            "  n: {stage: sing, with: {prompt: $mood, noise: $noise, steps: 0, solver: rk4, interval: [1]}}\n",
            "{o: $n.latents, p: $take.latents}",
        ),
        [
            "g.yaml:8:64: node n: steps is 0; allowed: 1 to 200",
            "g.yaml:8:75: node n: solver is text 'rk4'; allowed: euler, heun",
            "g.yaml:8:90: node n: interval is a list of 1; allowed: 2 elements",
        ],
    ),
    "input of a nested graph out of range": (
        body("  n: {graph: song, with: {tags: a, steps: 101}}\n", "{o: $n.audio, p: $take.latents}"),
        ["g.yaml:8:43: node n: steps is 101; allowed: 1 to 100"],
    ),
    "each over no list": (
        body("  n: {each: {x: $take.latents}, stage: paint, with: {source: $x}}\n"),
        ["g.yaml:8:17: node n: each: x takes a list; $take.latents is latents"],
    ),
    "each over a number": (
        body("  n: {each: {x: 3}, stage: paint, with: {source: $take.latents, strength: $x}}\n"),
        ["g.yaml:8:17: node n: each: x takes a list; found int"],
    ),
    "each over lists of two lengths": (
        body(
            "  n: {each: {x: [0.1, 0.2], y: [0.3]}, stage: paint, with: {source: $take.latents, strength: $x, label: $y}}\n"
        ),
        [
            "g.yaml:8:13: node n: each: its lists must have the same length; found x has 2, y has 1",
            "g.yaml:8:105: node n: label takes text; $y is float",
        ],
    ),
    "each over a list known too late": (
        body(
            "  t: {stage: sound, with: {latents: $take.latents}}\n  s: {stage: split, with: {audio: $t}}\n  n: {each: {x: $s.tracks}, stage: blend, with: {tracks: [$x]}}\n",
            "{o: $n.audio}",
        ),
        [
            "g.yaml:10:17: node n: each: the length of $s.tracks is known only during the run; allowed: an input, a list written here, or what each: gives"
        ],
    ),
    "empty each": (
        body("  n: {each: {}, stage: paint, with: {source: $take.latents}}\n"),
        ["g.yaml:8:7: node n: each: is empty; allowed: {name: $list}"],
    ),
    "each and fold": (
        body(
            "  n: {each: {x: [0.1]}, fold: {y: [0.2]}, carry: {latents: $take.latents}, stage: paint, with: {source: $latents, strength: $x}}\n"
        ),
        ["g.yaml:8:25: node n: a node has each: or fold:, not both; nest a graph for the inner one"],
    ),
    "fold without carry": (
        body("  n: {fold: {y: [0.2]}, stage: paint, with: {source: $take.latents, strength: $y}}\n"),
        [
            "g.yaml:8:7: node n: fold: needs carry:, the outputs that go from one element to the next and their first state"
        ],
    ),
    "carry without fold": (
        body("  n: {carry: {latents: $take.latents}, stage: paint, with: {source: $take.latents}}\n"),
        ["g.yaml:8:7: node n: carry: belongs to fold:, and this node has none"],
    ),
    "carry of an unknown output": (
        body(
            "  n: {fold: {y: [0.2]}, carry: {latent: $take.latents}, stage: paint, with: {source: $take.latents, strength: $y}}\n"
        ),
        ["g.yaml:8:33: node n: carry: stage paint has no output 'latent', nearest 'latents'; allowed: latents, report"],
    ),
    "carry of another type": (
        body(
            "  n: {fold: {y: [0.2]}, carry: {latents: $mood}, stage: paint, with: {source: $latents, strength: $y}}\n",
            "{o: $n.latents, p: $take.latents}",
        ),
        ["g.yaml:8:42: node n: carry: latents takes latents; $mood is prompt"],
    ),
    "when over latents": (
        body(
            "  n: {when: $take.latents, stage: paint, with: {source: $take.latents}, otherwise: {latents: $take.latents}}\n"
        ),
        ["g.yaml:8:13: node n: when: takes a bool, or something optional; $take.latents is latents"],
    ),
    "otherwise without when": (
        body("  n: {stage: paint, with: {source: $take.latents}, otherwise: {latents: $take.latents}}\n"),
        ["g.yaml:8:52: node n: otherwise: belongs to when:, and this node has none"],
    ),
    "otherwise of unknown output and type": (
        body(
            "  n: {when: $b, stage: paint, with: {source: $take.latents}, otherwise: {latent: $take.latents, latents: $noise}}\n",
            inputs="{b: {type: bool}}",
        ),
        [
            "g.yaml:8:74: node n: otherwise: stage paint has no output 'latent', nearest 'latents'; allowed: latents, report",
            "g.yaml:8:106: node n: otherwise: latents takes latents or nothing; $noise is noise",
        ],
    ),
    "reference without stand-in": (
        body("  n: {when: $b, stage: paint, with: {source: $take.latents}}\n", inputs="{b: {type: bool}}"),
        [
            "g.yaml:9:14: node n runs only when $b, so $n.latents may be absent; allowed: give it otherwise: {latents: ...}, or this node the same when:"
        ],
    ),
    "circle of nodes": (
        body(
            "  n: {stage: paint, with: {source: $m.latents}}\n  m: {stage: paint, with: {source: $n.latents}}\n",
            "{o: $n.latents, p: $take.latents}",
        ),
        ["g.yaml:8:3: node n: nodes go in a circle: n -> m -> n"],
    ),
    "node without use": (
        body("  n: {stage: paint, with: {source: $take.latents}}\n", "{o: $take.latents}"),
        ["g.yaml:8:3: node n: this node is not used by any output; outputs: o"],
    ),
    "input without use": (
        body("  n: {stage: paint, with: {source: $take.latents}}\n", inputs="{x: {type: text}}"),
        ["g.yaml:3:10: input x is never used; allowed: refer to $x, or leave it out"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_rule(text: str, expected: list[str]) -> None:
    assert messages(text, song=SONG) == expected


def test_a_graph_without_problems() -> None:
    assert messages(SONG) == []


def test_checked_raises_all_problems_at_once() -> None:
    broken = SONG.replace("$tags", "$tag").replace("stage: sound", "stage: sonud").replace("$noise", "$nois")
    with pytest.raises(GraphError) as caught:
        checked(parse(broken, "g.yaml"), REGISTRY, shelf())
    assert [problem.rule for problem in caught.value.problems] == [
        "dangling-reference",
        "dangling-reference",
        "unknown-stage",
    ]
    assert str(caught.value).count("\n") == 2


def test_problems_name_rule_file_line_column_and_node() -> None:
    (problem,) = problems(SONG.replace("$mood", "$modo"))
    message = "$modo points at nothing: no input or node 'modo', nearest 'mood'; allowed: tags, seed, steps, mood, noise, take, track"
    assert problem == Problem("dangling-reference", message, "g.yaml", 10, 38, "take")


def test_problems_of_nested_graphs_carry_their_own_file() -> None:
    outer = body("  n: {graph: song, with: {tags: a}}\n", "{o: $n.audio, p: $take.latents}")
    assert messages(outer, song=SONG.replace("stage: prompt", "stage: promt")) == [
        "song.yaml:8:17: node mood: no stage 'promt', nearest 'prompt'; allowed: blend, draw, paint, prompt, sing, sound, split, words"
    ]


def circle(name: str, target: str) -> str:
    return f"graph: {name}\nversion: 1\nnodes:\n  n: {{graph: {target}}}\noutputs: {{o: $n.o}}\n"


def test_a_circle_of_graphs_is_printed() -> None:
    find = shelf(a=circle("a", "b"), b=circle("b", "c"), c=circle("c", "a"))
    lines = [str(problem) for problem in check(find("a", parse(SONG)), REGISTRY, find)]
    assert lines == ["a.yaml:4:14: node n: graphs go in a circle: a -> b -> c -> a"]


def test_a_circle_below_is_found_whichever_way_in() -> None:
    top = body("  x: {graph: b}\n  y: {graph: c}\n", "{x: $x.o, y: $y.o, p: $take.latents}")
    assert messages(top, b=circle("b", "c"), c=circle("c", "b")) == [
        "b.yaml:4:14: node n: graphs go in a circle: b -> c -> b",
        "c.yaml:4:14: node n: graphs go in a circle: c -> b -> c",
    ]


def test_graphs_nested_too_deep() -> None:
    texts = {f"g{i}": circle(f"g{i}", f"g{i + 1}") for i in range(40)} | {"g40": SONG}
    find = shelf(**texts)
    lines = check(find("g0", parse(SONG)), REGISTRY, find)
    assert "g0.yaml:4:14: node n: graphs nested deeper than 16" in map(str, lines)


def test_several_circles_are_all_found() -> None:
    nodes = "".join(
        f"  {a}: {{stage: paint, with: {{source: ${b}.latents}}}}\n" for a, b in ("ab", "ba", "cd", "dc", "ee")
    )
    lines = [
        p.message for p in problems(body(nodes, "{a: $a.latents, c: $c.latents, e: $e.latents, p: $take.latents}"))
    ]
    assert lines == [
        "nodes go in a circle: a -> b -> a",
        "nodes go in a circle: c -> d -> c",
        "nodes go in a circle: e -> e",
    ]


def test_nodes_under_the_same_condition_need_no_stand_in_for_each_other() -> None:
    nodes = (
        "  n: {when: $b, stage: paint, with: {source: $take.latents}}\n"
        "  m: {when: $b, stage: paint, with: {source: $n.latents}, otherwise: {latents: $take.latents}}\n"
    )
    assert messages(body(nodes, "{o: $m.latents}", "{b: {type: bool}}")) == []


def test_when_may_ask_whether_something_optional_is_present() -> None:
    node = (
        "  n: {when: $s, stage: paint, with: {source: $take.latents, span: $s}, otherwise: {latents: $take.latents}}\n"
    )
    assert messages(body(node, inputs="{s: {type: span, default: null}}")) == []


def test_an_output_that_may_be_absent_suits_only_a_port_that_takes_nothing() -> None:
    nodes = (
        "  w: {when: $b, stage: words, otherwise: {lyrics: null}}\n"
        "  n: {stage: sing, with: {prompt: $mood, noise: $noise, lyrics: $w}}\n"
        "  m: {when: $b, stage: paint, with: {source: $take.latents}, otherwise: {latents: null}}\n"
        "  o: {stage: sound, with: {latents: $m.latents}}\n"
    )
    assert messages(body(nodes, "{n: $n.latents, o: $o}", "{b: {type: bool}}")) == [
        "g.yaml:11:37: node o: latents takes latents; $m.latents is latents or nothing"
    ]


def test_a_nested_graph_that_loops_over_its_input_wants_a_known_list() -> None:
    inner = (
        "graph: inner\nversion: 1\ninputs: {tracks: {type: list of audio}}\n"
        "nodes:\n  s: {each: {t: $tracks}, stage: blend, with: {tracks: [$t]}}\noutputs: {o: $s.audio}\n"
    )
    start = "  t: {stage: sound, with: {latents: $take.latents}}\n  s: {stage: split, with: {audio: $t}}\n"
    late = body(start + "  n: {graph: inner, with: {tracks: $s.tracks}}\n", "{o: $n.o}")
    assert messages(late, inner=inner) == [
        "g.yaml:10:36: node n: graph inner loops over tracks, whose length is known only during the run; "
        "allowed: an input, a list written here, or what each: gives"
    ]
    early = body(start + "  n: {graph: inner, with: {tracks: [$t, $t]}}\n", "{o: $n.o, s: $s.tracks}")
    assert messages(early, inner=inner) == []


def test_lists_that_each_gives_may_be_gone_through_again() -> None:
    nodes = (
        "  a: {each: {x: [0.1, 0.2]}, stage: paint, with: {source: $take.latents, strength: $x}}\n"
        "  b: {each: {y: $a.latents}, stage: sound, with: {latents: $y}}\n"
        "  c: {stage: blend, with: {tracks: $b}}\n"
    )
    assert messages(body(nodes, "{o: $c}")) == []


def test_a_flood_of_problems_is_cut_short() -> None:
    nodes = "".join(f"  n{i}: {{stage: nix}}\n" for i in range(300))
    lines = messages(body(nodes, "{p: $take.latents}"))
    assert len(lines) == MOST_PROBLEMS + 1
    assert lines[-1] == "g.yaml: and 400 more problems"


def chain(nodes: int) -> str:
    paints = "".join(
        f"  n{i}: {{stage: paint, with: {{source: $n{i - 1}.latents, strength: 0.3, label: x, span: [1, 2]}}}}\n"
        for i in range(1, nodes - 3)
    )
    first = "  n0: {stage: paint, with: {source: $take.latents}}\n"
    return body(first + paints, f"{{o: $n{nodes - 4}.latents}}")


def test_200_nodes_are_checked_fast() -> None:
    text = chain(200)
    parsed = parse(text, "g.yaml")
    assert len(parsed.nodes) == 200
    seconds = []
    for _ in range(5):
        start = time.thread_time()  # of the processor, so that a busy machine is no failure
        assert check(parse(text, "g.yaml"), REGISTRY, shelf()) == []
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.15  # about 0.03 s


def test_a_long_chain_is_no_deep_recursion() -> None:
    assert messages(chain(2500)) == []


def test_a_long_chain_of_stand_ins_is_no_deep_recursion() -> None:
    nodes = "".join(
        f"  n{i}: {{when: $b, stage: paint, with: {{source: $take.latents}}, otherwise: {{latents: $n{i + 1}.latents}}}}\n"
        for i in range(800)
    )
    last = "  n800: {stage: paint, with: {source: $take.latents}}\n"
    assert messages(body(nodes + last, "{o: $n0.latents}", "{b: {type: bool}}")) == []


@pytest.mark.parametrize("span", ["[0, 1.5]", "{start: 0, end: 1.5}"])
def test_a_span_parameter_takes_literals(span: str) -> None:
    text = f"""\
graph: g
version: 1
inputs: {{source: {{type: audio}}}}
nodes:
  cut: {{stage: trim, with: {{audio: $source, span: {span}}}}}
outputs: {{o: $cut.audio}}
"""
    assert check(parse(text, "g.yaml"), stages(), shelf()) == []
