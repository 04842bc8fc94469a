"""Where graphs are found, which of two wins, and what stays out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.checking.check import check
from acestep_flows.graph.library import Library, load, shipped
from tests.graph.toys import REGISTRY, SONG, write

CALLER = "graph: caller\nversion: 1\nnodes:\n  n: {graph: TARGET, with: {tags: a}}\noutputs: {o: $n.audio}\n"


def caller(target: str) -> str:
    return CALLER.replace("TARGET", target)


def test_a_graph_is_found_by_name_in_a_folder_and_by_path(tmp_path: Path) -> None:
    path = write(tmp_path, "song", SONG)
    assert load("song", [tmp_path]).path == path
    assert load(path).name == "song"
    assert load(str(path)).name == "song"


def test_the_users_folder_hides_the_working_folder_and_that_the_shipped_graphs(tmp_path: Path) -> None:
    mine, working = tmp_path / "mine", tmp_path / "work"
    write(mine, "text2music", SONG.replace("graph: song", "graph: mine"))
    write(working / "graphs", "text2music", SONG.replace("graph: song", "graph: working"))
    assert Library([mine], working).load("text2music").name == "mine"
    assert Library([], working).load("text2music").name == "working"
    assert Library([], None).load("text2music").path == (shipped() / "text2music.yaml").resolve()


def test_names_lists_what_can_be_called(tmp_path: Path) -> None:
    write(tmp_path, "song", SONG)
    write(tmp_path, "Not A Name", SONG)
    (tmp_path / "notes.txt").write_text("x")
    names = Library([tmp_path], None).names()
    assert names["song"] == tmp_path / "song.yaml"
    assert "text2music" in names
    assert not any("Not" in name or "notes" in name for name in names)


def test_an_unknown_graph_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "song", SONG)
    with pytest.raises(NotFound, match=r"no graph 'sogn', nearest 'song'; allowed: .*song"):
        load("sogn", [tmp_path])


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no graph file '.*absent.yaml'"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="not a file"):
        load(tmp_path)
    with pytest.raises(NotFound, match="is no folder"):
        Library([tmp_path / "absent"])


def test_a_nested_graph_is_looked_for_beside_the_one_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "theirs", "song", SONG)
    path = write(tmp_path / "theirs", "caller", caller("song"))
    library = Library([], None)
    graph = library.load(path)
    assert check(graph, REGISTRY, library.nested) == []
    assert library.nested("song", graph) is library.nested("song", graph)


def test_a_nested_graph_by_relative_path(tmp_path: Path) -> None:
    write(tmp_path / "parts", "song", SONG)
    path = write(tmp_path, "caller", caller("parts/song.yaml"))
    library = Library([], None)
    assert check(library.load(path), REGISTRY, library.nested) == []


@pytest.mark.parametrize(
    "target", ["../secret.yaml", "SECRET", "link.yaml", "a/../../secret.yaml", "..\\\\secret.yaml"]
)
def test_nothing_outside_the_named_folders_is_read(tmp_path: Path, target: str) -> None:
    secret = write(tmp_path, "secret", SONG)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "link.yaml").symlink_to(secret)
    target = target.replace("SECRET", str(secret))
    path = write(tmp_path / "theirs", "caller", caller(f'"{target}"'))
    library = Library([], None)
    (found,) = check(library.load(path), REGISTRY, library.nested)
    assert found.rule == "unknown-graph"
    assert "lies outside the folders named for this run" in found.message


def test_a_graph_that_came_as_text_names_graphs_only(tmp_path: Path) -> None:
    from acestep_flows.graph.language.parse import parse

    write(tmp_path, "song", SONG)
    library = Library([tmp_path], None)
    assert check(parse(caller("song")), REGISTRY, library.nested) == []
    (found,) = check(parse(caller("./song.yaml")), REGISTRY, library.nested)
    assert found.message == "graph './song.yaml' is a path, and this graph is no file; allowed: names"


def test_a_circle_of_files_is_found(tmp_path: Path) -> None:
    write(tmp_path, "a", caller("b").replace("graph: caller", "graph: a"))
    write(tmp_path, "b", caller("a").replace("graph: caller", "graph: b"))
    library = Library([tmp_path], None)
    (found,) = check(library.load("a"), REGISTRY, library.nested)
    assert found.message == "graphs go in a circle: a -> b -> a"


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text("#" * 10_000_000)
    (found,) = load(path).problems
    assert found.rule == "too-large"


def test_an_unknown_graph_is_told_the_graphs_of_songs_and_a_hint_to_the_others() -> None:
    with pytest.raises(NotFound) as caught:
        Library(working=None).load("text2musik")
    told = str(caught.value)
    assert told.startswith("no graph 'text2musik', nearest 'text2music'; allowed: audio2audio, batch-takes, best-of, ")
    assert told.endswith("variation-in-span, and 5 building blocks, which `acestep-flows graphs` lists")
    assert "edit-step" not in told
    with pytest.raises(NotFound, match="nearest 'edit-step'"):
        Library(working=None).load("edit-stp")


def test_a_graph_of_the_users_own_is_listed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("graph: mine\nversion: 1\nnodes: {}\noutputs: {}\n")
    with pytest.raises(NotFound, match=r"allowed: .*lyric2vocal, mine, mix, rap"):
        Library([tmp_path], working=None).load("min")
