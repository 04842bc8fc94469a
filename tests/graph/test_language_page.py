"""Every graph on the language page checks, and what the page says of the limits is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acestep_flows.graph.checking import nesting
from acestep_flows.graph.checking.check import check
from acestep_flows.graph.language import document
from acestep_flows.graph.language.declare import KEYS
from acestep_flows.graph.language.groups import GROUP_KEYS, parse_group
from acestep_flows.graph.language.parse import GRAPH_KEYS, NODE_KEYS
from acestep_flows.graph.language.types import kinds
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning import layout
from acestep_flows.stages.registry import stages

PAGE = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text()
FILES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
GROUPS = [text for text in FILES if text.startswith("group:")]
GRAPHS = [text for text in FILES if text not in GROUPS]


@pytest.mark.parametrize("text", GRAPHS, ids=lambda text: str(text).split()[1])
def test_graphs_on_the_page_check(text: str) -> None:
    library = Library([], None)
    assert check(library.parse(text), stages(), library.nested) == []


@pytest.mark.parametrize("text", GROUPS, ids=lambda text: str(text).split()[1])
def test_groups_on_the_page_are_read(text: str) -> None:
    assert parse_group(text, "the page").problems == ()


def test_every_word_of_the_language_is_on_the_page() -> None:
    written = set(re.findall(r"[a-z_]+", PAGE))
    assert {*GRAPH_KEYS, *GROUP_KEYS, *NODE_KEYS, *KEYS, *kinds()} <= written


def test_the_limits_are_as_written() -> None:
    limits = (document.MAX_BYTES, document.MAX_DEPTH, document.MAX_VALUES, nesting.MAX_NESTING, layout.MAX_NODES)
    assert limits == (1_000_000, 20, 50_000, 16, 50_000)
    sentence = "at most 1 MB, 20 levels and 50 000 values, graphs nest 16 deep, and a plan holds 50 000 nodes"
    assert sentence in PAGE
