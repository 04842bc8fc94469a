"""`use:` - inputs that graphs share: what a graph and its nodes take over, what is refused, and what is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.errors import GraphError
from acestep_flows.graph.checking.check import check, checked
from acestep_flows.graph.language.groups import parse_group
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import digest, lay_out
from acestep_flows.graph.records.graph_content import graph_content, graph_scope
from acestep_flows.graph.views.describe import describe
from acestep_flows.graph.views.draw import picture
from acestep_flows.graph.views.schema import input_schema
from tests.graph.toys import REGISTRY, write

GROUP = """\
group: ways
version: 1
inputs:
  steps: {type: int, default: null, minimum: 1, maximum: 200}
  solver: {type: text, default: null, choices: [euler, heun], description: "How."}
"""

INNER = """\
graph: inner
version: 1
use: [ways]
inputs:
  tags: {type: text}
nodes:
  mood: {stage: prompt, with: {tags: $tags}}
  noise: {stage: draw, with: {seed: 1}}
  take: {stage: sing, use: [ways], with: {prompt: $mood, noise: $noise}}
outputs: {latents: $take.latents}
"""

OUTER = """\
graph: outer
version: 1
use: [ways]
inputs:
  tags: {type: text}
  steps: {type: int, default: 5}
nodes:
  song: {graph: inner, use: [ways], with: {tags: $tags}}
  track: {stage: sound, with: {latents: $song.latents}}
outputs: {audio: $track.audio}
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "ways.yaml").write_text(GROUP)
    write(tmp_path, "inner", INNER)
    write(tmp_path, "outer", OUTER)
    return Library([tmp_path], None)


def messages(library: Library, text: str) -> list[str]:
    return [str(problem) for problem in check(library.parse(text, "g.yaml"), REGISTRY, library.nested)]


def test_a_group_is_no_graph(library: Library) -> None:
    assert not {"ways", "groups"} & library.names().keys()


def test_a_graph_takes_over_every_input_of_its_groups_and_its_own_declaration_wins(library: Library) -> None:
    inputs = library.load("outer").inputs
    assert list(inputs) == ["tags", "steps", "solver"]
    assert [inputs[name].advanced for name in inputs] == [False, False, True]
    assert inputs["steps"].default == 5
    assert inputs["solver"].group == "ways"


def test_a_node_gets_what_it_takes_and_with_does_not_bind(library: Library) -> None:
    scope = checked(library.load("outer"), REGISTRY, library.nested)
    plan = lay_out(scope, {"tags": "a", "solver": "heun"})
    assert {"steps": 5, "solver": "heun"}.items() <= plan.nodes["song.take"].inputs.items()
    more = "  more: {stage: sing, use: [ways], with: {prompt: $mood, noise: $noise, solver: euler}}\n"
    text = INNER.replace("outputs: {", f"{more}outputs: {{o: $more.report, ")
    both = checked(library.parse(text), REGISTRY, library.nested)
    plan = lay_out(both, {"tags": "a", "solver": "heun"})
    assert [plan.nodes[name].inputs["solver"] for name in ("take", "more")] == ["heun", "euler"]


def test_nothing_given_leaves_the_stages_defaults_and_so_their_cache_keys(library: Library) -> None:
    plan = lay_out(checked(library.load("inner"), REGISTRY, library.nested), {"tags": "a"})
    params = plan.nodes["take"].params
    assert params == REGISTRY["sing"].Params()
    assert params.model_dump_json() == REGISTRY["sing"].Params().model_dump_json()


def test_what_is_stored_needs_no_group(library: Library) -> None:
    scope = checked(library.load("outer"), REGISTRY, library.nested)
    content = graph_content(scope)
    assert "use" not in str(content)
    assert content["graph"]["inputs"]["solver"]["advanced"] is True
    assert content["graph"]["nodes"]["song"]["with"] == {"tags": "$tags", "steps": "$steps", "solver": "$solver"}
    again = graph_scope(content, "the recipe", REGISTRY)
    assert digest(again) == digest(scope)
    given = {"tags": "a", "solver": "heun", "steps": 3}
    assert lay_out(again, given).nodes == lay_out(scope, given).nodes


def test_a_changed_group_is_another_graph(library: Library, tmp_path: Path) -> None:
    before = digest(checked(library.load("inner"), REGISTRY, library.nested))
    (tmp_path / "groups" / "ways.yaml").write_text(GROUP.replace("200", "100"))
    other = Library([tmp_path], None)
    assert digest(checked(other.load("inner"), REGISTRY, other.nested)) != before


def test_advanced_inputs_are_listed_apart_marked_and_not_drawn(library: Library) -> None:
    graph = library.load("outer")
    text = describe(graph, REGISTRY, library.nested)
    common, advanced = text.index("Inputs\n"), text.index("Advanced inputs\n")
    assert common < text.index("  steps  ") < advanced < text.index("  solver  text, euler | heun, default euler  How.")
    assert "song   inner  tags=$tags  use ways" in text
    schema = input_schema(graph)["properties"]
    assert schema["solver"]["x-advanced"] is True
    assert "x-advanced" not in schema["steps"]
    assert [part.name for part in picture(graph).parts if part.role == "input"] == ["tags", "steps"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("use: [ways]\ninputs", "use: [wasy]\ninputs"), "g.yaml:3:7: no group 'wasy', nearest 'ways'; allowed:"),
        (("use: [ways]\ninputs", "use: ways\ninputs"), "g.yaml:3:6: use: takes a list of groups; found text 'ways'"),
        (("use: [ways]\ninputs", "use: [1]\ninputs"), "g.yaml:3:7: use: takes names of groups; found 1"),
        (
            ("sing, use: [ways]", "sing, use: [other]"),
            "g.yaml:9:29: node take: the graph does not use group 'other'; allowed: ways; add it to the graph's use:",
        ),
        (
            ("{stage: prompt, ", "{stage: prompt, use: [ways], "),
            "g.yaml:7:31: node mood: stage prompt takes nothing of ways; allowed: leave use: out",
        ),
        (
            ("sing, use: [ways]", "sing"),
            "g.yaml:3:7: no node takes steps, solver of group ways; allowed: use: [ways] in a node that does",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(library: Library, change: tuple[str, str], message: str) -> None:
    found = messages(library, INNER.replace(*change))
    assert any(line.startswith(message) for line in found), found


def test_problems_of_a_group_are_told_with_its_file(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "groups" / "ways.yaml"
    path.write_text(GROUP.replace("type: int", "type: itn").replace("version: 1", "version: 3\nnodes: {}"))
    found = messages(Library([tmp_path], None), INNER)
    assert [line.partition(": ")[2] for line in found if "ways.yaml" in line] == [
        "version is 3; allowed: 1",
        "a group has no key 'nodes'; allowed: group, version, summary, inputs",
        f"input steps has no type 'itn', nearest 'int'; allowed: {found[2].rpartition('allowed: ')[2]}",
    ]


def test_a_group_that_is_no_map_is_told() -> None:
    (problem,) = parse_group("- 1\n", "ways.yaml").problems
    assert str(problem) == "ways.yaml:1:1: a group is a map with group, version, summary, inputs"


def test_text_without_a_library_has_no_groups() -> None:
    with pytest.raises(GraphError, match="no group 'ways'; allowed: none"):
        checked(parse(INNER), REGISTRY, Library([], None).nested)


def test_a_group_beside_the_graph_is_found_first(library: Library, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    (own / "groups").mkdir(parents=True)
    (own / "groups" / "ways.yaml").write_text(GROUP.replace("  steps: {type: int", "  interval: {type: list of float"))
    write(own, "inner", INNER)
    assert list(library.load(own / "inner.yaml").inputs) == ["tags", "interval", "solver"]


def test_a_graph_in_a_circle_with_use_is_refused_as_before(library: Library, tmp_path: Path) -> None:
    write(tmp_path, "inner", INNER.replace("stage: sing", "graph: outer"))
    again = Library([tmp_path], None)
    found = [str(problem) for problem in check(again.load("outer"), REGISTRY, again.nested)]
    assert any("graphs go in a circle" in line for line in found)
