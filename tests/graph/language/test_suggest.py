"""What is said about an input that does not exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.suggest import unknown_input
from acestep_flows.graph.library import Library, shipped
from acestep_flows.values import Audio, Latents

GRAPH = """\
graph: g
version: 1
inputs:
  track: {type: music, similar: [song], description: "What to play along with; gives the length."}
  right: {type: float, default: 1, similar: [after, how_much]}
  omega: {type: float, default: 1, advanced: true}
nodes: {}
outputs: {o: [$track, $right, $omega]}
"""
AUDIO = Audio(np.zeros((1, 10), np.float32), 44_100)
NAMES = sorted(path.stem for path in shipped().glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("after", 3, ", perhaps right"),
        ("How-Much", 3, ", perhaps right"),
        ("song", 3, ", perhaps track: What to play along with"),
        ("rigth", 3, ", nearest 'right'"),
        ("omgea", 3, ", nearest 'omega'"),
        ("xyz", AUDIO, ", perhaps track: What to play along with"),
        ("xyz", Latents(np.zeros((8, 16, 1), np.float32)), ", perhaps track: What to play along with"),
        ("xyz", 3, ""),
    ],
)
def test_what_is_meant(name: str, value: Any, meant: str) -> None:
    found = unknown_input(name, parse(GRAPH).inputs, value)
    assert found == f"no input '{name}'{meant}; allowed: track, right, and 1 advanced ones"


def test_further_names_are_allowed_too() -> None:
    assert unknown_input("idd", parse(GRAPH).inputs, more=["id"]).startswith("no input 'idd', nearest 'id'; allowed:")


@pytest.mark.parametrize(
    ("graph", "name", "meant"),
    [
        ("extend", "after", "right: Seconds to add after"),
        ("extend", "before", "left: Seconds to add before"),
        ("repaint", "track", "source: The song to change"),
        ("stemgen", "source", "track: The track to play along with"),
        ("singing2accompaniment", "source", "vocal: The vocal"),
        ("audio2audio", "source", "reference: What to stay near"),
        ("stemgen", "tags", "instrument: The instrument to add"),
        ("text2music", "mood", "tags: the mood is among its words"),
        ("text2music", "prompt", "tags: Comma-separated tags"),
    ],
)
def test_names_of_one_graph_are_understood_in_another(graph: str, name: str, meant: str) -> None:
    assert f", perhaps {meant};" in unknown_input(name, Library(working=None).load(graph).inputs)


@pytest.mark.parametrize("name", NAMES)
def test_every_input_of_a_shipped_graph_says_what_it_is(name: str) -> None:
    inputs = Library(working=None).load(name).inputs
    assert [key for key, declared in inputs.items() if not declared.description.endswith(".")] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_similar_word_is_an_input_or_means_two(name: str) -> None:
    inputs = Library(working=None).load(name).inputs
    words = [word for declared in inputs.values() for word in declared.similar]
    assert len(words) == len(set(words))
    assert not set(words) & inputs.keys()
