"""From graph and inputs to plan: nesting, each, fold, when, seeds, and what is refused before a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import GraphError, InputError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.planning import layout
from acestep_flows.graph.planning.layout import digest, lay_out, plan
from acestep_flows.graph.planning.plan import Fallback, NodeOutput, Plan
from acestep_flows.graph.planning.seeds import random_seed
from acestep_flows.values import MAX_SEED, Audio, Span
from tests.graph.toys import REGISTRY, SONG, shelf

AUDIO = Audio(np.zeros((1, 10), np.float32), 44_100)


def planned(text: str, inputs: Mapping[str, Any] | None = None, draw: Any = lambda where: 7, **nested: str) -> Plan:
    return plan(parse(text, "g.yaml"), inputs or {}, registry=REGISTRY, find=shelf(**nested), draw=draw)


def graph(nodes: str, outputs: str, inputs: str = "{}") -> str:
    """A graph with a source of latents `take`, then `nodes`."""
    start = "  take: {stage: sing, with: {prompt: $mood, noise: $noise}}\n  mood: {stage: prompt, with: {tags: a}}\n"
    noise = "  noise: {stage: draw, with: {seed: 1}}\n"
    return f"graph: g\nversion: 1\ninputs: {inputs}\nnodes:\n{start}{noise}{nodes}outputs: {outputs}\n"


def test_a_plain_graph() -> None:
    found = planned(SONG, {"tags": "funk", "seed": 3})
    assert list(found.nodes) == ["mood", "noise", "take", "track"]
    assert found.nodes["mood"].inputs == {"tags": "funk"}
    assert found.nodes["take"].inputs == {
        "prompt": NodeOutput("mood", "prompt"),
        "noise": NodeOutput("noise", "noise"),
        "steps": 60,
    }
    assert found.inputs == {"tags": "funk", "seed": 3, "steps": 60}
    assert found.outputs == {"audio": NodeOutput("track", "audio"), "latents": NodeOutput("take", "latents")}
    assert found.graph == "song"
    assert found.warnings == ()


def test_a_planned_node_keeps_its_checked_parameters() -> None:
    nodes = planned(SONG, {"tags": "funk", "seed": 3}).nodes
    assert nodes["mood"].params == REGISTRY["prompt"].Params.model_validate({"tags": "funk"})
    assert nodes["take"].params == REGISTRY["sing"].Params.model_validate({"steps": 60})


def test_nodes_stand_after_what_they_need_and_else_as_in_the_file() -> None:
    found = planned(graph("  n: {stage: paint, with: {source: $take.latents}}\n", "{o: $n.latents}"))
    assert list(found.nodes) == ["mood", "noise", "take", "n"]


def test_a_nested_graph_is_inlined_under_its_path() -> None:
    outer = graph("  s: {graph: song, with: {tags: b, seed: 5}}\n", "{o: $s.audio, p: $take.latents}")
    found = planned(outer, song=SONG)
    assert [name for name in found.nodes if name.startswith("s.")] == ["s.mood", "s.noise", "s.take", "s.track"]
    assert found.nodes["s.take"].inputs["prompt"] == NodeOutput("s.mood", "prompt")
    assert found.nodes["s.mood"].inputs == {"tags": "b"}
    assert found.outputs["o"] == NodeOutput("s.track", "audio")


def test_each_runs_a_node_per_element_and_gives_lists() -> None:
    nodes = (
        "  n: {each: {x: $xs, y: [a, b]}, stage: paint, with: {source: $take.latents, strength: $x, label: $y}}\n"
        "  t: {each: {z: $n.latents}, stage: sound, with: {latents: $z}}\n"
        "  m: {stage: blend, with: {tracks: $t}}\n"
    )
    found = planned(graph(nodes, "{o: $m, r: $n.report}", "{xs: {type: list of float}}"), {"xs": [0, 1]})
    assert found.nodes["n[0]"].inputs == {"source": NodeOutput("take", "latents"), "strength": 0.0, "label": "a"}
    assert found.nodes["n[1]"].inputs["label"] == "b"
    assert found.nodes["t[1]"].inputs == {"latents": NodeOutput("n[1]", "latents")}
    assert found.nodes["m"].inputs == {"tracks": [NodeOutput("t[0]", "audio"), NodeOutput("t[1]", "audio")]}
    assert found.outputs["r"] == [NodeOutput("n[0]", "report"), NodeOutput("n[1]", "report")]


FOLD = graph(
    "  n:\n"
    "    fold: {edit: $edits}\n"
    "    carry: {latents: $take.latents}\n"
    "    stage: paint\n"
    "    with: {source: $latents, strength: $edit.strength, label: $edit.text}\n",
    "{last: $n.latents, reports: $n.report}",
    "{edits: {type: list of record, fields: {text: {type: text}, strength: {type: float, default: 0.4}}}}",
)


def test_fold_carries_state_in_order_and_gives_the_last() -> None:
    found = planned(FOLD, {"edits": [{"text": "a"}, {"text": "b", "strength": 1}, {"text": "c"}]})
    assert [found.nodes[f"n[{i}]"].inputs["source"] for i in range(3)] == [
        NodeOutput("take", "latents"),
        NodeOutput("n[0]", "latents"),
        NodeOutput("n[1]", "latents"),
    ]
    assert [found.nodes[f"n[{i}]"].inputs["strength"] for i in range(3)] == [0.4, 1.0, 0.4]
    assert found.outputs["last"] == NodeOutput("n[2]", "latents")
    assert found.outputs["reports"] == [NodeOutput(f"n[{i}]", "report") for i in range(3)]


def test_a_chain_of_no_edits_is_the_start_and_says_so() -> None:
    found = planned(FOLD, {"edits": []})
    assert found.outputs == {"last": NodeOutput("take", "latents"), "reports": []}
    assert found.warnings == ("node n: the list is empty, so nothing runs",)


def test_fold_over_a_nested_graph_carries_several_states() -> None:
    step = (
        "graph: step\nversion: 1\ninputs:\n  latents: {type: latents}\n  words: {type: lyrics}\n  text: {type: text}\n"
        "nodes:\n  new: {stage: words, with: {lyrics: $text}}\n  m: {stage: prompt, with: {tags: a}}\n"
        "  z: {stage: draw, with: {seed: 1}}\n"
        "  old: {stage: sing, with: {prompt: $m, noise: $z, lyrics: $words}}\n"
        "  p: {stage: paint, with: {source: $latents}}\n"
        "outputs: {latents: $p.latents, words: $new, old: $old.latents}\n"
    )
    nodes = (
        "  w: {stage: words, with: {lyrics: zero}}\n"
        "  n:\n"
        "    fold: {text: [one, two]}\n"
        "    carry: {latents: $take.latents, words: $w}\n"
        "    graph: step\n"
        "    with: {latents: $latents, words: $words, text: $text}\n"
    )
    found = planned(graph(nodes, "{o: $n.latents, w: $n.words, all: $n.old}"), step=step)
    assert found.nodes["n[0].old"].inputs["lyrics"] == NodeOutput("w", "lyrics")
    assert found.nodes["n[1].old"].inputs["lyrics"] == NodeOutput("n[0].new", "lyrics")
    assert found.nodes["n[1].p"].inputs["source"] == NodeOutput("n[0].p", "latents")
    assert found.outputs["w"] == NodeOutput("n[1].new", "lyrics")


STATIC = graph(
    "  n: {when: $b, stage: paint, with: {source: $take.latents}, otherwise: {latents: $take.latents}}\n"
    "  t: {stage: sound, with: {latents: $n.latents}}\n",
    "{o: $t}",
    "{b: {type: bool}}",
)


def test_a_condition_known_before_the_run_is_decided_in_the_plan() -> None:
    taken, untaken = planned(STATIC, {"b": True}), planned(STATIC, {"b": False})
    assert taken.nodes["t"].inputs == {"latents": NodeOutput("n", "latents")}
    assert taken.nodes["n"].when == ()
    assert untaken.nodes["t"].inputs == {"latents": NodeOutput("take", "latents")}
    assert "n" not in untaken.nodes


def test_what_only_an_untaken_node_needed_is_dropped() -> None:
    nodes = (
        "  deep: {stage: paint, with: {source: $take.latents}}\n"
        "  n: {when: $b, stage: paint, with: {source: $deep.latents}, otherwise: {latents: $take.latents}}\n"
    )
    text = graph(nodes, "{o: $n.latents}", "{b: {type: bool}}")
    assert "deep" in planned(text, {"b": True}).nodes
    assert "deep" not in planned(text, {"b": False}).nodes


DYNAMIC = graph(
    "  t: {stage: sound, with: {latents: $take.latents}}\n"
    "  s: {stage: split, with: {audio: $t}}\n"
    "  n: {when: $s.loud, stage: blend, with: {tracks: $s.tracks}, otherwise: {audio: $t}}\n"
    "  m: {stage: blend, with: {tracks: [$n.audio]}}\n",
    "{o: $m}",
)


def test_a_condition_that_a_node_computes_waits_in_the_plan() -> None:
    found = planned(DYNAMIC)
    assert found.nodes["n"].when == (NodeOutput("s", "loud"),)
    assert found.nodes["m"].inputs == {"tracks": [Fallback((NodeOutput("n", "audio"), NodeOutput("t", "audio")))]}
    assert found.nodes["m"].needs() == {"n", "t"}


def test_conditions_of_nested_graphs_add_up() -> None:
    inner = (
        "graph: inner\nversion: 1\ninputs: {a: {type: audio}}\nnodes:\n  s: {stage: split, with: {audio: $a}}\n"
        "  n: {when: $s.loud, stage: blend, with: {tracks: [$a]}, otherwise: {audio: null}}\noutputs: {audio: $n}\n"
    )
    outer = DYNAMIC.replace("stage: blend, with: {tracks: $s.tracks}", "graph: inner, with: {a: $t}")
    found = planned(
        outer.replace("tracks: [$n.audio]", "tracks: [$t]").replace("{o: $m}", "{o: $m, n: $n}"), inner=inner
    )
    assert found.nodes["n.s"].when == (NodeOutput("s", "loud"),)
    assert found.nodes["n.n"].when == (NodeOutput("s", "loud"), NodeOutput("n.s", "loud"))
    taken, other = found.outputs["n"].options
    assert (taken, other) == (Fallback((NodeOutput("n.n", "audio"), None)), NodeOutput("t", "audio"))


def test_when_asks_for_presence() -> None:
    nodes = (
        "  n: {when: $s, stage: paint, with: {source: $take.latents, span: $s}, otherwise: {latents: $take.latents}}\n"
    )
    text = graph(nodes, "{o: $n.latents}", "{s: {type: span, default: null}}")
    assert planned(text).outputs == {"o": NodeOutput("take", "latents")}
    assert planned(text, {"s": [0, 1]}).nodes["n"].inputs["span"] == Span(0.0, 1.0)


def test_a_stand_in_that_cannot_be_told_from_the_output_is_refused() -> None:
    inner = "graph: inner\nversion: 1\ninputs: {a: {type: audio}}\nnodes: {}\noutputs: {audio: $a}\n"
    outer = DYNAMIC.replace("stage: blend, with: {tracks: $s.tracks}", "graph: inner, with: {a: $t}")
    with pytest.raises(
        GraphError, match="output audio is not computed inside this node, so `otherwise:` cannot be used for it"
    ):
        planned(outer, inner=inner)


def test_spans_are_put_together_from_inputs() -> None:
    text = graph(
        "  n: {stage: paint, with: {source: $take.latents, span: [$a, 9]}}\n", "{o: $n.latents}", "{a: {type: float}}"
    )
    assert planned(text, {"a": 2}).nodes["n"].inputs["span"] == Span(2.0, 9.0)
    with pytest.raises(InputError, match=r"node n, span: 10 to 9 s \(allowed: 0 <= start < end, in seconds\)"):
        planned(text, {"a": 10})


def test_values_travel_in_the_plan() -> None:
    text = graph("  s: {stage: split, with: {audio: $a}}\n", "{o: $s.tracks, p: $take.latents}", "{a: {type: audio}}")
    assert planned(text, {"a": AUDIO}).nodes["s"].inputs["audio"] is AUDIO


# Seeds


def test_random_seeds_are_drawn_and_reported() -> None:
    seeds = iter(range(10, 20))
    found = planned(SONG, {"tags": "a"}, draw=lambda where: next(seeds))
    assert found.inputs["seed"] == 10
    assert found.nodes["noise"].inputs["seed"] == 10
    assert 0 <= random_seed("x") <= MAX_SEED


TAKES = graph("  takes: {each: {t: [a, b]}, graph: song, with: {tags: $t}}\n", "{o: $takes.audio, p: $take.latents}")


def test_seeds_of_nested_graphs_are_reported_under_their_path() -> None:
    drawn: list[str] = []

    def draw(where: str) -> int:
        drawn.append(where)
        return len(drawn)

    found = planned(TAKES, draw=draw, song=SONG)
    assert found.inputs == {"takes[0].seed": 1, "takes[1].seed": 2}
    assert drawn == ["takes[0].seed", "takes[1].seed"]


def test_the_inputs_of_a_plan_give_the_plan_again() -> None:
    first = planned(TAKES, draw=random_seed, song=SONG)
    assert planned(TAKES, first.inputs, draw=random_seed, song=SONG) == first
    assert planned(TAKES, draw=random_seed, song=SONG) != first


def test_a_seed_for_a_node_that_draws_none_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"takes\[2\].seed: no such input \(allowed: takes\[0\].seed, takes\[1\].seed\)"
    ):
        planned(TAKES, {"takes[2].seed": 1}, song=SONG)


# What is refused


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "tags: missing (allowed: text)"),
        ({"tags": "a", "sed": 1}, "graph song: no input 'sed', nearest 'seed'; allowed: tags, seed, steps"),
        ({"tags": "a", "steps": 101}, "steps: 101 (allowed: 1 to 100)"),
        ({"tags": 1, "steps": "x"}, "tags: 1 (allowed: text); steps: text 'x' (allowed: a whole number)"),
        ({"tags": "a", "seed": -1}, f"seed: -1 (allowed: 0 to {MAX_SEED}, or 'random')"),
    ],
)
def test_inputs_are_refused_in_words(inputs: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        planned(SONG, inputs)
    assert str(caught.value) == message


def test_a_parameter_that_the_stage_would_refuse_is_refused_before_the_run() -> None:
    text = SONG.replace(", minimum: 1, maximum: 100", "")
    with pytest.raises(InputError, match=r"^node take: steps is 0; allowed: 1 to 200$"):
        planned(text, {"tags": "a", "steps": 0})


def test_an_input_of_a_nested_graph_is_refused_with_its_path() -> None:
    text = graph(
        "  s: {graph: song, with: {tags: b, steps: $n}}\n", "{o: $s.audio, p: $take.latents}", "{n: {type: int}}"
    )
    with pytest.raises(InputError, match=r"^s\.steps: 101 \(allowed: 1 to 100\)$"):
        planned(text, {"n": 101}, song=SONG)


def test_a_graph_with_problems_is_not_planned() -> None:
    with pytest.raises(GraphError, match="nearest 'mood'"):
        planned(SONG.replace("$mood", "$modo"), {"tags": "a"})


def test_lists_side_by_side_have_one_length() -> None:
    nodes = "  n: {each: {x: $xs, y: [a, b]}, stage: paint, with: {source: $take.latents, strength: $x, label: $y}}\n"
    text = graph(nodes, "{o: $n.latents}", "{xs: {type: list of float}}")
    with pytest.raises(
        InputError, match=r"^node n: lists of different lengths: x has 1, y has 2 \(allowed: lists of one"
    ):
        planned(text, {"xs": [0.5]})


EACH = graph(
    "  n: {each: {x: $xs}, stage: paint, with: {source: $take.latents, strength: $x}}\n",
    "{o: $n.latents}",
    "{xs: {type: list of float}}",
)


def test_each_over_ten_thousand_elements() -> None:
    assert len(planned(EACH, {"xs": [0.5] * 10_000}).nodes) == 10_003


def test_each_over_each_is_stopped_before_it_fills_the_memory() -> None:
    inner = EACH.replace("graph: g", "graph: inner")
    outer = graph(
        "  m: {each: {x: $xs}, graph: inner, with: {xs: $xs}}\n",
        "{o: $m.o, p: $take.latents}",
        "{xs: {type: list of float}}",
    )
    with pytest.raises(InputError, match=rf"more than {layout.MAX_NODES} nodes \(allowed: shorter lists\)"):
        planned(outer, {"xs": [0.5] * 10_000}, inner=inner)


def test_graphs_that_hold_only_graphs_are_stopped_too() -> None:
    texts = {
        f"g{i}": f"graph: g{i}\nversion: 1\nnodes:\n"
        + "".join(f"  n{j}: {{graph: g{i + 1}}}\n" for j in range(10))
        + "outputs: {"
        + ", ".join(f"o{j}: $n{j}.o0" for j in range(10))
        + "}\n"
        for i in range(12)
    }
    texts["g12"] = "graph: g12\nversion: 1\ninputs: {x: {type: int, default: 1}}\nnodes: {}\noutputs: {o0: $x}\n"
    with pytest.raises(InputError, match="more than"):
        planned(texts["g0"], None, lambda where: 7, **texts)


@pytest.mark.parametrize("file", ["/etc/voice", "../voice", "voice.yaml", "~root", ".", "C:\\voice"])
def test_a_graph_names_no_files_the_user_does(file: str) -> None:
    text = graph(
        "  n: {stage: paint, with: {source: $take.latents, voice: $v}}\n",
        "{o: $n.latents}",
        f"{{v: {{type: text, default: '{file}'}}}}",
    )
    with pytest.raises(InputError, match="^node n: voice is the path '.*', written in a graph"):
        planned(text)
    with pytest.raises(InputError, match="written in a graph"):
        planned(text.replace("$v", f"'{file}'").replace("inputs", "inputs: {}\n#"))
    assert planned(text, {"v": file}).nodes["n"].inputs["voice"] == file
    assert planned(text, {"v": "soprano"}).nodes["n"].inputs["voice"] == "soprano"


# Properties


def test_the_digest_tells_content_and_nothing_else() -> None:
    def of(text: str, song: str = SONG) -> str:
        return digest(checked(parse(text, "g.yaml"), REGISTRY, shelf(song=song)))

    assert of(TAKES) == of("# a comment\n" + TAKES.replace("  takes:", "\n  takes:"))
    assert of(TAKES) != of(TAKES.replace("[a, b]", "[a, c]"))
    assert of(TAKES) != of(TAKES, song=SONG.replace("default: 60", "default: 59"))


@given(st.lists(st.floats(0, 1), max_size=6))
def test_one_checked_graph_serves_many_rows(xs: list[float]) -> None:
    scope = checked(parse(EACH, "g.yaml"), REGISTRY, shelf())
    found = lay_out(scope, {"xs": xs})
    assert found == lay_out(scope, {"xs": xs})
    assert [found.nodes[f"n[{i}]"].inputs["strength"] for i in range(len(xs))] == xs
    seen: set[str] = set()
    for node in found.nodes.values():
        assert node.needs() <= seen
        seen.add(node.id)


def test_plans_are_plain_values() -> None:
    found = planned(SONG, {"tags": "a"})
    assert dataclasses.replace(found) == found
