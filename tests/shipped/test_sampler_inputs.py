"""Every graph that samples takes everything that v1 offers about sampling, and hands it down to its stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.language.syntax import Group
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.library import Library, shipped
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.stages.contract import Port, Stage
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio, Latents

NAMES = sorted(path.stem for path in shipped().glob("*.yaml"))
DIFFUSION = ("sample", "repaint", "edit")
V1: dict[str, Any] = {
    "solver": "heun",
    "guidance": "cfg_star",
    "guidance_scale": 7.0,
    "guidance_scale_text": 5.0,
    "guidance_scale_lyric": 2.0,
    "guidance_interval": 0.7,
    "guidance_decay": 0.1,
    "guidance_minimum": 2.0,
    "omega": 5.0,
    "erg_tag": False,
    "erg_lyric": False,
    "erg_diffusion": False,
    "oss_steps": [1, 3, 9],
    "adapter": "voice",
    "adapter_weight": 0.5,
    "compatibility": "upstream",
}
"""What a `*_input_params.json` of v1 says about sampling beside the steps, in the words of the stages."""

LATENTS = Latents(np.zeros((8, 16, 60), np.float32))
REQUIRED: dict[str, Any] = {
    "tags": "pop", "new_tags": "rock", "lyrics": "[verse]\nla", "new_lyrics": "[verse]\nli", "duration": 5.0,
    "edits": ["[verse]\nlu"], "sections": ["[verse]"], "seeds": [1, 2], "instrument": "bass", "seconds": 2.0, "seed": 1,
    "instruments": ["bass"], "adapter": "voice", "span": [1, 2], "source": LATENTS, "latents": LATENTS,
    "reference": LATENTS, "track": LATENTS, "vocal": LATENTS,
    "stems": [Audio(np.zeros((2, 4800), np.float32), 48_000)],
}  # fmt: skip


def planned(name: str, **given: Any) -> Plan:
    library = Library(working=None)
    scope = checked(library.load(name), stages(), library.nested)
    required = {key: REQUIRED[key] for key, declared in scope.graph.inputs.items() if declared.required}
    return lay_out(scope, required | given, lambda where: 7)


def sampling() -> list[str]:
    """Every shipped graph with a node that samples, however deep."""
    return [name for name in NAMES if any(node.stage in DIFFUSION for node in planned(name).nodes.values())]


def test_there_are_such_graphs() -> None:
    assert len(sampling()) >= 20


@pytest.mark.parametrize("name", sampling())
def test_all_of_v1_reaches_every_node_that_samples(name: str) -> None:
    plan = planned(name, **V1, language="de")
    for node in plan.nodes.values():
        if node.params is None:  # another node computes a parameter: not those of sampling
            assert node.stage not in (*DIFFUSION, "encode_lyrics")
            continue
        found = node.params.model_dump(mode="json")
        wanted = {key: value for key, value in V1.items() if key in found} | {"language": "de"}
        if node.stage in DIFFUSION:
            assert found | V1 == found, node.id
        elif node.stage == "encode_lyrics":
            assert {key: found[key] for key in wanted} == wanted, node.id


@pytest.mark.parametrize("name", sampling())
def test_all_are_optional_and_advanced_unless_a_graph_says_otherwise(name: str) -> None:
    inputs = Library(working=None).load(name).inputs
    own = {"text2music": {"solver"}, "lyric2vocal": {"adapter", "adapter_weight"}}
    own |= {name: {"adapter", "adapter_weight"} for name in ("rap", "text2samples")}
    for key in {*V1, "language"} - own.get(name, set()):
        assert inputs[key].advanced, key
        assert not inputs[key].required, key
        assert inputs[key].default is None, key


@pytest.mark.parametrize("name", sampling())
def test_nothing_given_leaves_every_parameter_of_the_stages_as_it_was(name: str) -> None:
    """So that results of earlier versions are found in the cache."""
    for node in planned(name).nodes.values():
        if node.stage not in (*DIFFUSION, "encode_lyrics"):
            continue
        assert node.params is not None
        defaults = stages()[node.stage].Params.model_fields
        graphs_own = {"adapter"} if name in ("lyric2vocal", "rap", "text2samples") else set()
        for key in {*V1, "language"} & defaults.keys() - graphs_own:
            assert getattr(node.params, key) == defaults[key].default, (node.id, key)


def bounds(port: Port) -> dict[str, Any]:
    """What a declaration says too: bounds, choices and description of a stage's parameter."""
    schemas = [port.schema, *port.schema.get("anyOf", [])]
    whole = {key: value for schema in schemas for key, value in schema.items()}
    return {
        "type": port.type.kind,
        "minimum": whole.get("minimum"),
        "maximum": whole.get("maximum"),
        "choices": tuple(whole.get("enum", ())),
        "description": port.description,
    }


def declared_bounds(declared: Declaration) -> dict[str, Any]:
    fields = ("minimum", "maximum", "choices", "description")
    return {"type": declared.type.kind} | {field: getattr(declared, field) for field in fields}


def taken(stage: type[Stage], *without: str) -> dict[str, Port]:
    return {name: port for name, port in stage.inputs().items() if port.schema and name not in without}


@pytest.mark.parametrize(
    ("group", "ports"),
    [
        ("sampler", taken(stages()["repaint"], "steps", "span", "left", "right", "exact_length", "longest")),
        ("lyrics", taken(stages()["encode_lyrics"], "lyrics")),
    ],
)
def test_a_group_says_what_the_stage_says(group: str, ports: dict[str, Port]) -> None:
    found: Group = Library(working=None).group(group)
    assert {name: declared_bounds(one) for name, one in found.inputs.items()} == {
        name: bounds(port) for name, port in ports.items()
    }


def test_the_stages_that_sample_agree_on_what_they_share() -> None:
    shared = Library(working=None).group("sampler").inputs
    for stage in DIFFUSION:
        ports = stages()[stage].inputs()
        assert {name: bounds(ports[name]) for name in shared} == {
            name: bounds(stages()["sample"].inputs()[name]) for name in shared
        }


EDITS = ["repaint", "extend", "edit", "edit-lyrics", "remix", "audio2audio", "variation-in-span", "lyric-chain",
         "stemgen", "stem-set", "singing2accompaniment"]  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_a_graph_that_starts_from_music_encodes_no_latents(name: str) -> None:
    inputs = Library(working=None).load(name).inputs
    files = {key: one for key, one in inputs.items() if one.type.kind in ("audio", "music", "latents")}
    sound = files.pop("sound", None)  # what latents sound like
    guide = files.pop("guide", None)  # clicks or drums, of which there are no latents
    assert [one.type.kind for one in files.values()] == ["music"]
    assert sound is None or not sound.required
    assert guide is None or not guide.required
    assert "encode_audio" not in {node.stage for node in planned(name).nodes.values()}


CHAIN = """\
graph: chain
version: 1
inputs: {tags: {type: text}, seed: {type: seed, default: 1}}
nodes:
  song:    {graph: text2music, with: {tags: $tags, duration: 5, seed: $seed}}
  painted: {graph: repaint, with: {source: $song.latents, tags: $tags, span: [1, 2], seed: $seed}}
  edited:  {graph: edit-lyrics, with: {source: $painted.latents, tags: $tags, lyrics: "", new_lyrics: la, seed: $seed}}
  longer:  {graph: extend, with: {source: $edited.latents, tags: $tags, right: 2, seed: $seed}}
outputs: {audio: $longer.audio}
"""


def test_a_chain_of_four_graphs_encodes_nothing_and_decodes_only_what_is_heard() -> None:
    library = Library(working=None)
    scope = checked(library.parse(CHAIN), stages(), library.nested)
    counted = [node.stage for node in lay_out(scope, {"tags": "pop"}, lambda where: 7).nodes.values()]
    assert counted.count("encode_audio") == 0
    assert counted.count("decode_latents") == counted.count("vocode") == 1
    assert [stage for stage in counted if stage in DIFFUSION] == ["sample", "repaint", "edit", "repaint"]
    from_audio = checked(library.parse(CHAIN.replace(".latents", ".audio")), stages(), library.nested)
    again = [node.stage for node in lay_out(from_audio, {"tags": "pop"}, lambda where: 7).nodes.values()]
    assert again.count("encode_audio") == 3  # the count of before: one for each edit
