"""What inputs say about each other: spans within music, numbers up to another, and who is told of a default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.inputs import resolve_inputs
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.relations import length_of
from acestep_flows.stages.encode_audio import frames_of
from acestep_flows.stages.registry import stages
from acestep_flows.stages.repaint import span_frames
from acestep_flows.values import Audio, Latents, Span, frames_from_seconds, seconds_from_frames
from tests.graph.planning.test_layout import planned
from tests.graph.toys import SONG, messages

CUT = """\
graph: cut
version: 1
inputs:
  source: {type: music}
  span: {type: span, within: source}
nodes: {}
outputs: {span: $span, source: $source}
"""


def audio(samples: int, rate: int = 44_100) -> Audio:
    return Audio(np.zeros((1, samples), np.float32), rate)


def latents(frames: int) -> Latents:
    return Latents(np.zeros((8, 16, frames), np.float32))


def resolved(span: Any, source: Any) -> Span:
    found: Span = resolve_inputs(parse(CUT), {"span": span, "source": source})["span"]
    return found


@pytest.mark.parametrize("span", [[4, None], {"start": 4}, {"start": 4, "end": None}])
def test_an_end_that_is_left_out_is_that_of_the_music(span: Any) -> None:
    assert resolved(span, latents(60)) == Span(4.0, seconds_from_frames(60))
    assert resolved(span, audio(48_000 * 5, 48_000)) == Span(4.0, seconds_from_frames(54))


@given(st.integers(2, 400), st.sampled_from([44_100, 48_000]))
def test_the_length_of_a_song_that_was_made_here_is_a_span_of_it(frames: int, rate: int) -> None:
    """Decoding gives a sample more than the latents have, or none."""
    samples = -(-frames * 4096 * rate // 44_100)
    for length in (samples, samples + 1):
        song = audio(length, rate)
        if frames_of(song) != frames:  # a sample more at 44.1 kHz is one that encoding does not drop
            continue
        for source in (song, latents(frames)):
            found = resolved([0, song.seconds], source)
            assert span_frames(found, latents(frames)) == (0, frames)


@pytest.mark.parametrize("end", [5.0, 5.01, 5.09])
def test_an_end_within_a_frame_past_the_end_is_the_end(end: float) -> None:
    assert resolved([1, end], audio(5 * 44_100)).end == seconds_from_frames(54)


def test_an_end_before_the_end_stays() -> None:
    assert resolved([1, 4.97], audio(5 * 44_100)) == Span(1.0, 4.97)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ([1, 5.3], r"span: 1 to 5.3 s, but source is 5.00 s long \(allowed: within 0 to 5.00 s\)"),
        ([20, 30], r"span: 20 to 30 s, but source is 5.00 s long"),
        ([20, None], r"span: 20 to the end, but source is 5.00 s long"),
        ([6, 5], r"span: 6 to 5 s \(allowed: 0 <= start < end"),
        ([1], r"span: a list of 1 \(allowed: .*; the end may be left out\)"),
        ([1, 1e9 + 1], r"span: end is .* \(allowed: a finite number of seconds\)"),
    ],
)
def test_a_span_past_the_end_is_refused_with_both_numbers(span: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolved(span, audio(5 * 44_100))


def test_where_a_span_lies_in_nothing_its_end_is_needed() -> None:
    graph = parse(CUT.replace(", within: source", ""))
    with pytest.raises(InputError, match=r"span: a list of 2|span: end is null"):
        resolve_inputs(graph, {"span": [4, None], "source": latents(60)})
    assert resolve_inputs(graph, {"span": [4, 100], "source": latents(60)})["span"] == Span(4.0, 100.0)


def test_the_frames_of_audio_are_what_encoding_makes_of_it() -> None:
    assert [frames_of(audio(samples)) for samples in (4096, 4097, 4098, 8192)] == [1, 1, 2, 2]
    assert frames_of(audio(48_000 * 3, 48_000)) == 33 == -(-3 * 44_100 // 4096)
    assert frames_from_seconds(3.0) == 32
    found = length_of(latents(32))
    assert found is not None
    assert found.end == found.seconds == seconds_from_frames(32)


NESTED = """\
graph: outer
version: 1
nodes:
  s: {graph: song, with: {tags: a, seed: 1}}
  c: {graph: cut, with: {source: $s.audio, span: SPAN}}
outputs: {o: $c.span, a: $c.source}
"""


def test_in_a_nested_graph_the_length_may_be_known_only_during_the_run() -> None:
    found = planned(NESTED.replace("SPAN", "[1, 500]"), song=SONG, cut=CUT)
    assert found.outputs["o"] == Span(1.0, 500.0)  # the stage that gets it will tell


@pytest.mark.parametrize("name", ["repaint", "variation-in-span"])
@pytest.mark.parametrize("source", [audio(5 * 44_100), latents(54)])
def test_shipped_graphs_repaint_until_the_end(name: str, source: Any) -> None:
    library = Library(working=None)
    scope = checked(library.load(name), stages(), library.nested)
    plan = lay_out(scope, {"source": source, "tags": "pop", "span": [4, None]})
    (painted,) = (node for node in plan.nodes.values() if node.stage == "repaint")
    assert painted.inputs["span"] == plan.inputs["span"] == Span(4.0, seconds_from_frames(54))
    with pytest.raises(InputError, match="^span: 4 to 9 s, but source is 5.0"):
        lay_out(scope, {"source": source, "tags": "pop", "span": [4, 9]})


LIMITED = """\
graph: limited
version: 1
inputs:
  low: {type: float, default: 0.2, at_most: high}
  high: {type: float, default: 0.4}
nodes: {}
outputs: {low: $low, high: $high}
"""


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"low": 0.6}, "low: 0.6 is above high 0.4, its default; give high=0.6 or more too"),
        ({"high": 0.1}, "high: 0.1 is below low 0.2, its default; give low=0.1 or less too"),
        ({"low": 0.6, "high": 0.5}, "low: 0.6 is above high 0.5"),
    ],
)
def test_a_number_above_its_limit_is_refused_and_a_default_is_called_one(inputs: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve_inputs(parse(LIMITED), inputs)
    assert str(caught.value) == message


@pytest.mark.parametrize("inputs", [{}, {"low": 0.4}, {"low": 0.6, "high": 0.6}])
def test_a_number_up_to_its_limit_is_taken(inputs: Any) -> None:
    resolve_inputs(parse(LIMITED), inputs)


def test_nested_graphs_are_held_to_it_too() -> None:
    outer = "graph: o\nversion: 1\ninputs: {x: {type: float}}\nnodes:\n  l: {graph: limited, with: {low: $x}}\n"
    with pytest.raises(InputError, match=r"^l\.low: 0\.6 is above high 0\.4, its default; give high=0\.6 or more too$"):
        planned(outer + "outputs: {o: $l.low}\n", {"x": 0.6}, limited=LIMITED)


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        (
            "{type: span, within: y}",
            "input x: within: takes an input of type music, audio or latents; no such input 'y'",
        ),
        (
            "{type: span, within: n}",
            "input x: within: takes an input of type music, audio or latents; no such input 'n'",
        ),
        ("{type: int, within: n}", "input x has within:, which only span have; found type int"),
        ("{type: int, at_most: y}", "input x: at_most: takes another input that is a number; no such input 'y'"),
        ("{type: int, at_most: x}", "input x: at_most: takes another input that is a number; no such input 'x'"),
        ("{type: text, at_most: n}", "input x has at_most:, which only int and float have; found type text"),
        ("{type: int, similar: word}", "input x: similar takes a list of words; found text 'word'"),
        ("{type: int, advanced: 1}", "input x: advanced takes true or false; found 1"),
        (
            "{type: record, fields: {a: {type: int, at_most: n}}}",
            "input x.a has at_most:, which only an input has, and no field",
        ),
    ],
)
def test_mistakes_in_declarations_are_told(declaration: str, problem: str) -> None:
    text = f"graph: g\nversion: 1\ninputs: {{x: {declaration}, n: {{type: int}}}}\nnodes: {{}}\n"
    found = messages(text + "outputs: {x: $x, n: $n}\n")
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("remix", {"minimum": 0.6}, "minimum: 0.6 is above maximum 0.4, its default; give maximum=0.6 or more too"),
        (
            "edit-lyrics",
            {"maximum": 0.5},
            "maximum: 0.5 is below minimum 0.6, its default; give minimum=0.5 or less too",
        ),
        (
            "lyric-chain",
            {"maximum": 0.5},
            "maximum: 0.5 is below minimum 0.6, its default; give minimum=0.5 or less too",
        ),
        ("edit-step", {"minimum": 0.9, "maximum": 0.5}, "minimum: 0.9 is above maximum 0.5"),
        ("stem-set", {"instruments": []}, r"instruments: empty \(allowed: at least 1 element\)"),
        ("batch-takes", {"seeds": []}, r"seeds: empty \(allowed: at least 1 element\)"),
        ("best-of", {"seeds": []}, r"seeds: empty \(allowed: at least 1 element\)"),
        ("extend", {"left": 0, "right": 0}, "needs either a span to paint or seconds to add"),
        ("text2music", {"tags": "x" * 15_000}, r"tags is text .*; allowed: at most 10000 characters, not 15000"),
        ("text2music", {"oss_steps": []}, "oss_steps is an empty list; allowed: rising step numbers"),
        ("text2music", {"omega": 1000}, r"omega: 1000.0 \(allowed: -100 to 100\)"),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_run_is_planned(name: str, inputs: Any, message: str) -> None:
    library = Library(working=None)
    scope = checked(library.load(name), stages(), library.nested)
    required: dict[str, Any] = {
        "tags": "pop", "new_tags": "rock", "lyrics": "a", "new_lyrics": "b", "source": latents(60), "edits": ["b"],
        "latents": latents(60), "track": latents(60), "instruments": ["bass"], "seeds": [1], "duration": 5,
    }  # fmt: skip
    given = {key: required[key] for key, declared in scope.graph.inputs.items() if declared.required}
    with pytest.raises(InputError, match=message):
        lay_out(scope, given | inputs)
