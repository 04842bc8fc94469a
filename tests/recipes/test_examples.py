"""The example songs of the repository in v1's format: each reads without a warning, and the server offers the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acestep_flows.api.http.starting_points import EXAMPLES
from acestep_flows.graph.library import load
from acestep_flows.recipes.upstream import SUFFIX, is_upstream, read_upstream

FOLDER = Path(__file__).parents[2] / "examples" / "input_params"
FILES = sorted(FOLDER.glob("*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_one_of_v1s_and_gives_inputs_of_a_graph(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path.name.endswith(SUFFIX)
    assert is_upstream(content)
    recipe = read_upstream(content, path.name)
    assert recipe.warnings == ()
    assert set(recipe.inputs) <= set(load(recipe.graph).inputs)


def test_the_server_offers_the_same_songs() -> None:
    """Twelve or more, in three languages, half of them without words."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in FILES]
    stored = {(each["prompt"], each["lyrics"], each["audio_duration"]) for each in contents}
    offered = {(each.inputs["tags"], each.inputs["lyrics"], each.inputs["duration"]) for each in EXAMPLES}
    assert stored == offered
    assert len(offered) >= 12
    assert {each.language for each in EXAMPLES} == {"en", "de", "zh", ""}
    assert sum(each.language == "" for each in EXAMPLES) * 2 == len(EXAMPLES)
