"""The readable text of a graph."""

from __future__ import annotations

import pytest

from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.views.describe import WIDTH, constraints, describe
from tests.graph.planning.test_layout import FOLD
from tests.graph.toys import REGISTRY, SONG, shelf


def test_a_song() -> None:
    text = SONG.replace("inputs:", "summary: Sing it.\ninputs:")
    text = text.replace("{type: text}", "{type: text, description: Mood.}")
    assert describe(parse(text), REGISTRY, shelf()) == (
        "song\nSing it.\n\n"
        "Inputs\n"
        "  tags   text                       Mood.\n"
        "  seed   seed, default random\n"
        "  steps  int, 1 to 100, default 60\n\n"
        "Nodes\n"
        "  mood   prompt  tags=$tags\n"
        "  noise  draw    seed=$seed\n"
        "  take   sing    prompt=$mood  noise=$noise  steps=$steps\n"
        "  track  sound   latents=$take.latents\n\n"
        "Outputs\n"
        "  audio    audio    $track.audio\n"
        "  latents  latents  $take.latents\n"
    )


def test_a_fold() -> None:
    found = describe(parse(FOLD), REGISTRY, shelf())
    assert "fold edit in $edits:  source=$latents  strength=$edit.strength" in found
    assert "carry latents from $take.latents" in found
    assert "  last     latents         $n.latents\n  reports  list of report  $n.report\n" in found
    assert max(map(len, found.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ("{type: float, minimum: 0, maximum: 1, unit: dB}", "float, 0 to 1 dB"),
        ("{type: span, unit: s, default: null}", "span, s, optional"),
        ("{type: text, choices: [a, b], default: a}", "text, a | b, default a"),
        ('{type: text, default: ""}', 'text, default ""'),
        (
            "{type: list of seed, default: [random, 2], longest: 4}",
            "list of seed, at most 4 elements, default [random, 2]",
        ),
        ("{type: list of record, fields: {a: {type: int, minimum: 1}}}", "list of record, {a: int, at least 1}"),
    ],
)
def test_constraints(declaration: str, expected: str) -> None:
    graph = parse(f"graph: g\nversion: 1\ninputs: {{x: {declaration}}}\nnodes: {{}}\noutputs: {{o: $x}}\n")
    assert constraints(graph.inputs["x"]) == expected


def test_a_graph_with_problems_is_described_as_far_as_it_goes() -> None:
    assert "unknown" in describe(parse(SONG.replace("stage: sound", "stage: sonud")), REGISTRY, shelf())
    describe(parse("- nothing"), REGISTRY, shelf())


def test_inputs_have_the_bounds_and_defaults_of_what_they_feed() -> None:
    inner = SONG.replace("{type: int, default: 60, minimum: 1, maximum: 100}", "{type: int, default: null}")
    text = inner.replace(
        "  tags: {type: text}", "  tags: {type: text}\n  loud: {type: float, default: null, maximum: 7}"
    )
    painted = "  p: {stage: paint, with: {source: $take.latents, strength: $loud}}\noutputs: {p: $p.latents, "
    found = describe(parse(text.replace("outputs: {", painted)), REGISTRY, shelf())
    assert "  loud   float, 0 to 1, default 0.5\n" in found
    assert "  steps  int, 1 to 200, default 60\n" in found
    outer = "graph: o\nversion: 1\ninputs: {n: {type: int, default: null}}\nnodes:\n"
    outer += "  s: {graph: song, with: {tags: a, steps: $n}}\noutputs: {a: $s.audio}\n"
    assert "  n  int, 1 to 200, default 60\n" in describe(parse(outer), REGISTRY, shelf(song=inner))
