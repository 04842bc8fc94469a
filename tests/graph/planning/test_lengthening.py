"""Songs that become too long for the model are refused when the run is planned, or when their length is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.stages.registry import stages
from acestep_flows.stages.repaint import Repaint
from acestep_flows.values import Audio, Latents, frames_from_seconds
from tests.graph.toys import messages


def audio(seconds: float) -> Audio:
    return Audio(np.zeros((1, round(seconds * 8000)), np.float32), 8000)


def latents(seconds: float) -> Latents:
    return Latents(np.zeros((8, 16, frames_from_seconds(seconds)), np.float32))


def extended(source: Any, **inputs: Any) -> Plan:
    library = Library(working=None)
    scope = checked(library.load("extend"), stages(), library.nested)
    return lay_out(scope, {"source": source, "tags": "pop", **inputs})


@pytest.mark.parametrize("source", [audio(150), latents(150)])
@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"right": 120}, r"^right: source has 1\d\d\.\d\d s, and right 120(\.0)? s would make 2[67]\d\.\d\d s "),
        ({"left": 60, "right": 59}, r"^left: source has .* and left 60(\.0)? s and right 59(\.0)? s would make "),
        ({"left": 91, "right": 0}, r"\(allowed: at most (90\.0\d|89\.9\d|90\.\d\d) s more, 240 s in all; "),
    ],
)
def test_an_extension_past_the_models_limit_is_refused_with_the_way_out(source: Any, inputs: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        extended(source, **inputs)
    assert "the graph long-form makes longer songs" in str(caught.value)


def test_the_default_counts_too_and_a_full_song_has_no_room() -> None:
    with pytest.raises(InputError, match=r"^right: source has 220\.00 s, and right 30(\.0)? s would make 250\.00 s"):
        extended(audio(220))
    with pytest.raises(InputError, match=r"allowed: songs shorter than 240 s, 240 s in all"):
        extended(audio(240), right=1)


@pytest.mark.parametrize("source", [audio(150), latents(150)])
def test_up_to_the_limit_it_is_planned(source: Any) -> None:
    extended(source, left=45, right=45)


def test_a_length_that_a_node_makes_is_checked_during_the_run() -> None:
    params = Repaint.Params(right=50, longest=240)
    noise = type("Noise", (), {"retake_seed": 1})()
    item = Repaint.In(None, None, latents(200), noise)  # type: ignore[arg-type]  # refused before these are used
    with pytest.raises(InputError, match=r"would become 2\d\d\.\d\d s \(allowed: 240 s in all; the graph long-form"):
        Repaint()._extension(item, params)


def test_what_only_refuses_does_not_change_cache_keys() -> None:
    assert Repaint.Params(right=5, longest=240).key_content() == Repaint.Params(right=5).key_content()


def test_the_schema_names_the_music() -> None:
    schema = input_schema(Library(working=None).load("extend"))["properties"]
    assert schema["right"]["x-lengthens"] == schema["left"]["x-lengthens"] == "source"


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        ("{type: float, lengthens: y}", "input x: lengthens: takes an input of type music, audio or latents"),
        ("{type: text, lengthens: n}", "input x has lengthens:, which only int and float have; found type text"),
    ],
)
def test_mistakes_in_declarations_are_told(declaration: str, problem: str) -> None:
    text = f"graph: g\nversion: 1\ninputs: {{x: {declaration}, n: {{type: int}}}}\nnodes: {{}}\n"
    assert any(problem in line for line in messages(text + "outputs: {x: $x, n: $n}\n"))


def warned(text: str, inputs: dict[str, Any]) -> tuple[str, ...]:
    library = Library(working=None)
    return lay_out(checked(library.parse(text), stages(), library.nested), inputs).warnings


ASKING = """\
graph: short
version: 1
{use}
inputs: {{duration: {{type: float}}, seed: {{type: seed, default: 1}}}}
nodes:
  noise: {{stage: init_noise, {use_here} with: {{duration: $duration, seed: $seed}}}}
outputs: {{noise: $noise.noise}}
"""


def test_an_exact_length_is_advised_only_where_the_graph_has_it() -> None:
    without = warned(ASKING.format(use="", use_here=""), {"duration": 10})
    assert without == ("9.94 s of the 10 s asked, in whole frames",)
    given = warned(ASKING.format(use="use: [length]", use_here="use: [length],"), {"duration": 10})
    assert given == ("9.94 s of the 10 s asked, in whole frames; exact_length=true makes all of it",)


def test_a_graph_around_one_that_has_it_must_have_it_too() -> None:
    node = "  s: {{graph: text2music, {here} with: {{tags: a, duration: 10, seed: 1}}}}\n"
    outer = "graph: o\nversion: 1\n{use}nodes:\n" + node + "outputs: {{a: $s.audio}}\n"
    assert warned(outer.format(use="", here=""), {}) == ("9.94 s of the 10 s asked, in whole frames",)
    passed = warned(outer.format(use="use: [length]\n", here="use: [length],"), {})
    assert passed[0].endswith("; exact_length=true makes all of it")
