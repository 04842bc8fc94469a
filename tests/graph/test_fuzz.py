"""Whatever stands in a graph file: problems or a plan, never a traceback, never a hang."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import InputError, Problem
from acestep_flows.graph.checking.check import check
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import shipped
from acestep_flows.graph.planning.layout import plan
from acestep_flows.graph.views.describe import describe
from acestep_flows.graph.views.draw import dot, mermaid
from acestep_flows.graph.views.schema import input_schema
from tests.graph.planning.test_layout import DYNAMIC, FOLD, STATIC, TAKES
from tests.graph.toys import REGISTRY, SONG, shelf

SEEDS = [SONG, FOLD, TAKES, STATIC, DYNAMIC, *(path.read_text() for path in sorted(shipped().glob("*.yaml")))]
TOKEN = re.compile(r"\$?[\w.]+|[^\w\s]|\s+")
HOSTILE = [
    "$", "$$", "$.", "$a.b.c", "$take", "$n", "$noise", "$song", "{", "}", "[", "]", "[]", "{}", ":", ": ", ",",
    "- ", "|\n", "null", "~", "true", ".nan", "-.inf", "1e400", "9" * 50, "-1", "0", "0.5", "\"\"", "'", "\"", "&a",
    "*a", "!!str", "#", "\n", "\t", "\x00", "\ud800", "\U0001f3b5", "\u202e", "each: {x: $x}", "fold: {x: [1]}",
    "? ", "<<", "carry: {latents: $take}", "when: $b", "otherwise: {latents: null}", "graph: song", "stage: paint",
    "random", "record", "list of list of text",
]  # fmt: skip


def mutate(text: str, dice: random.Random) -> str:
    """The text with a few tokens dropped, doubled, swapped or replaced by something nasty."""
    tokens = TOKEN.findall(text)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(tokens))
        match dice.randrange(6):
            case 0:
                tokens[at] = ""
            case 1:
                tokens.insert(at, tokens[dice.randrange(len(tokens))])
            case 2:
                other = dice.randrange(len(tokens))
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 3:
                tokens[at] = dice.choice(HOSTILE)
            case 4:
                tokens.insert(at, dice.choice(HOSTILE))
            case _:
                lines = "".join(tokens).splitlines(keepends=True)
                lines.insert(dice.randrange(len(lines) + 1), dice.choice(lines))
                tokens = TOKEN.findall("".join(lines))
    return "".join(tokens)


def exercise(text: str | bytes) -> list[Problem]:
    """Everything that can be done with a graph from a stranger."""
    graph, find = parse(text, "g.yaml"), shelf(song=SONG, a=TAKES)
    found = check(graph, REGISTRY, find)
    for problem in found:
        assert problem.message
        assert problem.file == "g.yaml"
        assert len(problem.message) < 2000
        assert "\n" not in problem.message
    describe(graph, REGISTRY, find)
    dot(graph)
    mermaid(graph)
    input_schema(graph)
    if not found:
        for inputs in ({}, {"tags": "a", "edits": [], "b": False}, {"tags": "a", "edits": [{"text": "x"}], "b": True}):
            try:
                plan(graph, inputs, registry=REGISTRY, find=find)
            except InputError:
                continue
    return found


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
def test_mutated_graphs(text: str, seed: int) -> None:
    start = time.thread_time()
    exercise(mutate(text, random.Random(seed)))
    assert time.thread_time() - start < 2


WORDS = """graph version inputs nodes outputs stage with each fold carry when otherwise type fields default x n latents
    source take audio tags 1 song paint prompt sing $x $n $n.latents $x.y text int record random true null [] {}"""
words = st.sampled_from(WORDS.split())
flow = st.recursive(
    words,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(words, inner, max_size=4).map(
            lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
        )
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["inputs", "nodes", "outputs", "summary", "graph", "version"]), flow))
def test_graphs_of_the_right_words_in_wrong_places(parts: dict[str, str]) -> None:
    exercise("\n".join(f"{key}: {value}" for key, value in ({"graph": "g", "version": "1"} | parts).items()))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything(content: bytes | str) -> None:
    assert exercise(content)


@pytest.mark.parametrize("text", SEEDS[:5])
def test_what_is_mutated_is_sound(text: str) -> None:
    assert exercise(text) == []
