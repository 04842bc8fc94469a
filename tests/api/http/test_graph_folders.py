"""Graphs in the operator's folders, which change while a server runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acestep_flows.api.http.graph_folders import GraphFolders
from acestep_flows.errors import GraphError, NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.library import Library, shipped
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.registry import stages
from tests.api.door import SHORT, opened

MINE = """\
graph: mine
version: 1
summary: {summary}
inputs: {{source: {{type: audio}}}}
nodes: {{cut: {{stage: trim, with: {{audio: $source, span: [0, {end}]}}}}}}
outputs: {{audio: $cut.audio}}
"""
OUTER = """\
graph: outer
version: 1
inputs: {source: {type: audio}}
nodes: {inner: {graph: mine, with: {source: $source}}}
outputs: {audio: $inner.audio}
"""


def served(*folders: Path) -> GraphFolders:
    return GraphFolders(folders, lambda graph, library: checked(graph, stages(), library.nested))


def write(folder: Path, summary: str = "First", end: float = 0.5) -> Path:
    path = folder / "mine.yaml"
    path.write_text(MINE.format(summary=summary, end=end))
    return path


def test_a_changed_file_is_seen_also_by_the_graphs_that_nest_it(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "outer.yaml").write_text(OUTER)
    graphs = served(tmp_path)
    before, outer = graphs.scope("mine"), graphs.scope("outer").digest
    assert graphs.scope("mine") is before  # checked once
    write(tmp_path, "Second", 0.7)
    assert graphs.scope("mine").graph.summary == "Second"
    assert graphs.scope("outer").digest != outer


def test_a_change_of_a_graph_in_a_folder_below_is_seen(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path / "below")
    (tmp_path / "outer.yaml").write_text(OUTER.replace("graph: mine", "graph: below/mine.yaml"))
    graphs = served(tmp_path)
    before = graphs.scope("outer").digest
    write(tmp_path / "below", end=0.7)
    assert graphs.scope("outer").digest != before


def test_a_changed_group_is_seen(tmp_path: Path) -> None:
    (tmp_path / "groups").mkdir()
    group = tmp_path / "groups" / "cut.yaml"
    group.write_text("group: cut\nversion: 1\ninputs: {end: {type: float, default: 0.5}}\n")
    text = MINE.format(summary="x", end="$end").replace("version: 1\n", "version: 1\nuse: [cut]\n")
    (tmp_path / "mine.yaml").write_text(text)
    graphs = served(tmp_path)
    assert graphs.scope("mine").graph.inputs["end"].default == 0.5
    group.write_text("group: cut\nversion: 1\ninputs: {end: {type: float, default: 0.7}}\n")
    assert graphs.scope("mine").graph.inputs["end"].default == 0.7


def test_new_broken_mended_and_deleted_files_are_seen(tmp_path: Path) -> None:
    graphs = served(tmp_path)
    with pytest.raises(NotFound):
        graphs.scope("mine")
    path = write(tmp_path)
    assert graphs.scope("mine").graph.name == "mine"
    path.write_text("graph: mine\nversion: 1\nnodes: [")
    for _ in range(2):
        with pytest.raises(GraphError, match="not valid YAML"):
            graphs.scope("mine")
    write(tmp_path)
    assert graphs.scope("mine").graph.name == "mine"
    path.unlink()
    with pytest.raises(NotFound):
        graphs.scope("mine")


def test_a_graph_that_hides_a_shipped_one_comes_and_goes(tmp_path: Path) -> None:
    graphs = served(tmp_path)
    ours = graphs.scope("text2music").digest
    path = tmp_path / "text2music.yaml"
    path.write_text(MINE.format(summary="x", end=0.5).replace("graph: mine", "graph: text2music"))
    assert graphs.scope("text2music").digest != ours
    path.unlink()
    assert graphs.scope("text2music").digest == ours


def test_a_folder_that_goes_takes_only_its_own_graphs_along(tmp_path: Path) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    path = write(folder)
    graphs = served(folder)
    graphs.scope("mine")
    path.unlink()
    folder.rmdir()
    with pytest.raises(NotFound):
        graphs.scope("mine")
    assert graphs.scope("text2music").graph.name
    folder.mkdir()
    write(folder)
    assert graphs.scope("mine").graph.name


def test_the_picture_follows_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    graphs = served(tmp_path)
    before = graphs.picture("mine")
    assert graphs.picture("mine") is before
    (tmp_path / "mine.yaml").write_text(
        OUTER.replace("graph: outer", "graph: mine").replace("graph: mine,", "graph: decode,")
    )
    assert graphs.picture("mine") != before


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


ODD: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "dangling link": lambda path: path.symlink_to("/nowhere/at/all.yaml"),
    "link to itself": link_to_itself,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "binary": lambda path: path.write_bytes(b"\xff\x00" * 50),
    "empty": lambda path: path.write_bytes(b""),
    "huge": lambda path: path.write_bytes(b"#" * 2_000_000),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_entry_hides_no_graph(tmp_path: Path, odd: str) -> None:
    write(tmp_path)
    ODD[odd](tmp_path / "odd.yaml")
    graphs = Library([tmp_path], working=None).graphs()
    assert {"mine", *(path.stem for path in shipped().glob("*.yaml"))} <= graphs.keys()
    assert served(tmp_path).scope("mine").graph.name
    if "odd" in graphs:
        assert graphs["odd"].problems


def test_an_odd_entry_with_a_shipped_name_does_not_hide_that_graph(tmp_path: Path) -> None:
    (tmp_path / "text2music.yaml").mkdir()
    assert served(tmp_path).scope("text2music").graph.name


def test_a_file_that_may_not_be_read_is_listed_with_its_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    (tmp_path / "closed.yaml").write_text("graph: closed")
    whole = Path.open

    def refused(path: Path, *args: object, **kwargs: object) -> object:
        if path.name == "closed.yaml":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refused)
    graphs = Library([tmp_path], working=None).graphs()
    assert "mine" in graphs
    assert [str(problem.message) for problem in graphs["closed"].problems] == ["cannot be read: Permission denied"]


def test_a_server_lists_what_can_be_run_and_tells_what_is_broken(tmp_path: Path, strict: Checkpoint) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    write(folder)
    (folder / "odd.yaml").mkdir()
    with opened(tmp_path / "home", strict, folders=[folder], executing=False) as door:

        def listed() -> dict[str, bool]:
            return {entry["name"]: entry["ok"] for entry in door.client.get("/v1/graphs").json()["graphs"]}

        assert listed()["mine"] is True
        assert "odd" not in listed()
        (folder / "mine.yaml").write_text("graph: mine\nversion: 1\nnodes: [")
        assert listed()["mine"] is False
        assert listed()["text2music"] is True
        shown = door.client.get("/v1/graphs/mine")
        assert (shown.status_code, shown.json()["error"]["code"]) == (422, "invalid_graph")
        assert "not valid YAML" in shown.json()["error"]["problems"][0]["message"]
        assert str(tmp_path) not in shown.text
        (folder / "mine.yaml").write_text((shipped() / "text2music.yaml").read_text().replace("text2music", "mine"))
        assert door.submit("mine", SHORT)["graph"] == "mine"
        (folder / "mine.yaml").unlink()
        assert "mine" not in listed()
        assert door.client.get("/v1/graphs/mine").status_code == 404
