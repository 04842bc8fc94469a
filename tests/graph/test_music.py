"""Type `music`: audio or latents. What it may be given, what its parts are, and what a plan makes of each form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import InputError
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.planning.layout import plan
from acestep_flows.graph.planning.plan import NodeOutput, Plan
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.ports import PortType, port_type
from acestep_flows.values import Audio, Latents, Mel
from tests.graph.toys import REGISTRY, SONG, messages, shelf

AUDIO = Audio(np.zeros((1, 10), np.float32), 44_100)
LATENTS = Latents(np.zeros((8, 16, 3), np.float32))

AS_LATENTS = """\
graph: as-latents
version: 1
inputs: {source: {type: music}}
nodes:
  encoded:
    when: $source.audio
    stage: listen
    with: {audio: $source.audio}
    otherwise: {latents: $source.latents}
outputs: {latents: $encoded.latents}
"""

PAINT = """\
graph: painting
version: 1
inputs: {source: {type: music}}
nodes:
  origin: {graph: as-latents, with: {source: $source}}
  n: {stage: paint, with: {source: $origin.latents}}
outputs: {latents: $n.latents}
"""


class Listen(Stage):
    """Audio to latents."""

    name, version = "listen", 1

    @dataclass(frozen=True)
    class In:
        audio: Audio

    @dataclass(frozen=True)
    class Out:
        latents: Latents


STAGES = {**REGISTRY, "listen": Listen}


def laid_out(text: str, inputs: dict[str, Any], **nested: str) -> Plan:
    find = shelf(as_latents=AS_LATENTS, painting=PAINT, **nested)
    return plan(parse(text, "g.yaml"), inputs, registry=STAGES, find=find)


def test_a_union_of_audio_and_latents_is_music() -> None:
    assert port_type(Audio | Latents) == PortType("music")
    assert port_type(Audio | Latents | None) == PortType("music", optional=True)
    assert port_type(Audio | Mel) == PortType("any")


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("music", "audio", True),
        ("music", "latents", True),
        ("music", "music", True),
        ("music", "mel", False),
        ("audio", "music", False),
        ("latents", "music", False),
    ],
)
def test_what_an_edge_may_carry(wanted: str, offered: str, fits: bool) -> None:
    assert PortType(wanted).accepts(PortType(offered)) is fits


def test_latents_are_not_encoded() -> None:
    assert list(laid_out(PAINT, {"source": LATENTS}).nodes) == ["n"]
    assert laid_out(PAINT, {"source": LATENTS}).nodes["n"].inputs["source"] is LATENTS


def test_audio_is_encoded() -> None:
    found = laid_out(PAINT, {"source": AUDIO})
    assert list(found.nodes) == ["origin.encoded", "n"]
    assert found.nodes["origin.encoded"].when == ()
    assert found.nodes["n"].inputs["source"] == NodeOutput("origin.encoded", "latents")


def outer(source: str) -> str:
    nodes = f"  s: {{graph: song, with: {{tags: a, seed: 1}}}}\n  p: {{graph: painting, with: {{source: {source}}}}}\n"
    return f"graph: outer\nversion: 1\nnodes:\n{nodes}outputs: {{o: $p.latents, q: $s.audio}}\n"


def test_what_a_node_gives_is_known_to_be_audio_or_latents_before_the_run() -> None:
    assert "p.origin.encoded" not in laid_out(outer("$s.latents"), {}, song=SONG).nodes
    encoded = laid_out(outer("$s.audio"), {}, song=SONG).nodes["p.origin.encoded"]
    assert encoded.inputs == {"audio": NodeOutput("s.track", "audio")}
    assert encoded.when == ()  # the audio is sure to be there


def test_it_is_told_apart_element_by_element() -> None:
    nodes = "  p: {each: {one: $all}, graph: painting, with: {source: $one}}\n"
    text = (
        f"graph: g\nversion: 1\ninputs: {{all: {{type: list of music}}}}\nnodes:\n{nodes}outputs: {{o: $p.latents}}\n"
    )
    assert list(laid_out(text, {"all": [LATENTS, AUDIO]}).nodes) == ["p[0].n", "p[1].origin.encoded", "p[1].n"]


def test_music_that_is_optional_may_be_absent_in_both_forms() -> None:
    text = "graph: g\nversion: 1\ninputs: {source: {type: music, default: null}}\nnodes: {}\noutputs: OUT\n"
    text = text.replace("OUT", "{a: $source.audio, l: $source.latents}")
    assert laid_out(text, {}).outputs == {"a": None, "l": None}
    assert laid_out(text, {"source": AUDIO}).outputs == {"a": AUDIO, "l": None}


@pytest.mark.parametrize("value", ["song.wav", 3, Mel(np.zeros((2, 128, 8), np.float32))])
def test_anything_else_is_refused_in_words(value: Any) -> None:
    with pytest.raises(InputError, match=r"^source: .*\(allowed: a value of type audio or latents\)$"):
        laid_out(PAINT, {"source": value})


def test_a_value_that_a_graph_computes_in_a_form_nobody_knows_is_refused() -> None:
    text = "graph: g\nversion: 1\ninputs: {x: {type: any}}\nnodes:\n  p: {graph: painting, with: {source: $x}}\n"
    text = text.replace("{x: {type: any}}", "{x: {type: text}}") + "outputs: {o: $p.latents}\n"
    with pytest.raises(Exception, match="source takes music; \\$x is text"):
        laid_out(text, {"x": "a"})


def rules(node: str, inputs: str = "{source: {type: music}, voice: {type: audio, default: null}}") -> list[str]:
    nodes = f"  u: {{stage: blend, when: $voice, with: {{tracks: [$voice]}}, otherwise: {{audio: null}}}}\n{node}"
    return messages(f"graph: g\nversion: 1\ninputs: {inputs}\nnodes:\n{nodes}outputs: {{o: $n, p: $u, q: $source}}\n")


SPLIT = "  n: {{stage: sound, when: {when}, with: {{latents: {given}}}, otherwise: {{audio: {other}}}}}\n"


def test_a_condition_makes_what_it_asks_for_present() -> None:
    assert rules(SPLIT.format(when="$source.latents", given="$source.latents", other="$source.audio")) == []


@pytest.mark.parametrize(
    ("when", "given", "other", "problem"),
    [
        (
            "$source.audio", "$source.latents", "$source.audio",
            "g.yaml:6:58: node n: latents takes latents; $source.latents is latents or nothing",
        ),
        ("$voice", "$source.latents", "null", "latents takes latents; $source.latents is latents or nothing"),
    ],
)  # fmt: skip
def test_a_condition_tells_nothing_of_another_value(when: str, given: str, other: str, problem: str) -> None:
    found = rules(SPLIT.format(when=when, given=given, other=other))
    assert any(problem in line for line in found), found


def test_optional_music_may_be_neither() -> None:
    inputs = "{source: {type: music, default: null}, voice: {type: audio, default: null}}"
    node = SPLIT.format(when="$source.latents", given="$source.latents", other="$source.audio")
    assert rules(node, inputs) == []  # the stand-in may be absent, and so may the output
    track = node + "  t: {stage: blend, with: {tracks: [$n.audio]}}\n"
    found = rules(track, inputs)
    assert any("takes audio; $n.audio is audio or nothing" in line for line in found), found


def test_music_has_no_other_parts() -> None:
    found = rules("  n: {stage: sound, with: {latents: $source.mel}}\n")
    assert "g.yaml:6:37: node n: $source.mel: no field 'mel'; allowed: audio, latents" in found


def test_a_schema_names_an_asset() -> None:
    schema = input_schema(parse(PAINT))["properties"]["source"]
    assert schema == {"type": "string", "format": "asset", "x-type": "music"}
