"""Finds graphs: by path, in the user's folders, in the working folder's `graphs/`, among the shipped ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError, NotFound, Problem
from acestep_flows.graph.language.document import MAX_BYTES
from acestep_flows.graph.language.groups import parse_group
from acestep_flows.graph.language.parse import parse, parse_plain
from acestep_flows.graph.language.syntax import GRAPH_NAME, Graph, Group
from acestep_flows.graph.language.wording import clip, listing, no_such, unlike

SUFFIXES = (".yaml", ".yml")
SOUND_FILES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".caf", ".m4a")
SONG_ADVICE = "a graph's name or YAML file; the recipe in a song is given as --from FILE, in Python as recipe=FILE"
_Stamp = tuple[int, ...] | None

GROUPS = "groups"
"""The folder, in a folder of graphs, that holds the groups of inputs they share."""


@cache
def shipped() -> Path:
    """The folder of the graphs that come with the package: inside it in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "graphs" if (package / "graphs").is_dir() else package.parent / "graphs"


def looks_like_path(name: str) -> bool:
    """Whether `name` is a path rather than the name of a graph."""
    return "/" in name or "\\" in name or name.endswith(SUFFIXES)


class Library:
    """The graphs one run or one request can see. Each file is read once.

    A name is looked for beside the graph that asks for it, then in `folders`, in the working folder's `graphs/`, and
    among the shipped graphs. A graph may name another one by a path relative to itself, but not one outside the
    folders the user named, so that a graph from someone else reads no other files.

    Args:
        folders: the user's folders, the first searched first.
        working: the folder whose `graphs/` is searched too; None searches no such folder (as a server does).
    """

    def __init__(self, folders: Sequence[Path | str] = (), working: Path | str | None = ".") -> None:
        self.folders = [Path(folder) for folder in folders]
        for folder in self.folders:
            if not _exists(folder) or not folder.is_dir():
                raise NotFound(f"{folder} is no folder to look for graphs in")
        if working is not None and (Path(working) / "graphs").is_dir():
            self.folders.append(Path(working) / "graphs")
        self.folders.append(shipped())
        self._named: list[Path] = []
        self._read: dict[Path, Graph] = {}
        self._groups: dict[Path, Group] = {}
        self._listed = self._stamps()
        self._stamped: dict[Path, _Stamp] = {}

    def load(self, name_or_path: str | Path) -> Graph:
        """The graph that the user asks for, by name or by path.

        Raises:
            NotFound: there is none.
            InputError: the file cannot be read, or is an audio file.
        """
        name = str(name_or_path)
        if name.lower().endswith(SOUND_FILES):
            raise InputError("an audio file, not a graph", where=clip(name, 200), allowed=SONG_ADVICE)
        if isinstance(name_or_path, Path) or looks_like_path(name):
            path = Path(name_or_path)
            if not _exists(path):
                raise NotFound(f"no graph file {clip(name, 200)!r}")
            self._named.append(path.resolve().parent)
            return self._open(path)
        try:
            return self._open(_find("graph", name, self.folders))
        except NotFound:
            raise self.unknown(name) from None

    def unknown(self, name: str) -> NotFound:
        """The error about a name that no graph has. It lists the graphs that make songs and counts the others."""
        graphs = self.graphs()
        blocks = [known for known, graph in graphs.items() if graph.is_building_block]
        songs = listing(known for known in graphs if known not in blocks)
        more = f", and {len(blocks)} building blocks, which `acestep-flows graphs` lists" if blocks else ""
        return NotFound(f"{no_such('graph', name, graphs)}; allowed: {songs}{more}", allowed=graphs)

    def nested(self, target: str, asking: Graph) -> Graph:
        """The graph that `asking` names in `graph: target`.

        Raises:
            NotFound: there is none, or it lies outside the folders that the user named.
            InputError: the file cannot be read.
        """
        beside = [asking.path.parent] if asking.path is not None else []
        if not looks_like_path(target):
            return self._open(_find("graph", target, [*beside, *self.folders]))
        if not beside:
            raise NotFound(f"graph {clip(target)!r} is a path, and this graph is no file; allowed: names")
        path = beside[0] / target
        if "\\" in target or not self._inside(path):
            raise NotFound(f"graph {clip(target)!r} lies outside the folders named for this run")
        if not _exists(path):
            raise NotFound(f"no graph file {clip(target)!r} beside {asking.file}")
        return self._open(path)

    def parse(self, content: str | bytes, file: str = "<text>", path: Path | None = None) -> Graph:
        """Read a graph that came as text, with the groups that this library finds."""
        beside = [path.parent] if path is not None else []
        return parse(content, file, path, partial(self.group, beside=beside))

    def parse_plain(self, content: Any, file: str = "<text>") -> Graph:
        """Read a graph that is plain data, as `parse` reads text."""
        return parse_plain(content, file, partial(self.group, beside=[]))

    def group(self, name: str, beside: Sequence[Path] = ()) -> Group:
        """The group of inputs called `name`, from `groups/` in one of the folders that graphs are looked for in.

        Args:
            beside: the folder of the graph that asks, searched first.

        Raises:
            NotFound: there is none.
            InputError: the file cannot be read.
        """
        path = _find("group", name, [folder / GROUPS for folder in (*beside, *self.folders)]).resolve()
        if path not in self._groups:
            self._note(path)
            self._groups[path] = parse_group(_bytes(path), _label(path))
        return self._groups[path]

    def names(self) -> dict[str, Path]:
        """Every graph that can be called by name, and its file; a user's graph hides a shipped one."""
        files: dict[str, Path] = {}
        for folder in self.folders:
            for path in _files(folder):
                files.setdefault(path.stem, path)
        return dict(sorted(files.items()))

    def graphs(self) -> dict[str, Graph]:
        """Every graph that can be called by name. One whose file cannot be read has that as its problem."""
        return {name: self._or_unreadable(path) for name, path in self.names().items()}

    def has_changed(self) -> bool:
        """Whether a file of the user's folders was added, changed or removed since this library was made."""
        if self._listed != self._stamps():
            return True
        return any(_stamp(path) != stamp for path, stamp in list(self._stamped.items()))

    def _stamps(self) -> dict[Path, _Stamp]:
        """The files of graphs and groups in the user's folders, and what tells that one has changed."""
        own = [folder for folder in self.folders if folder != shipped()]
        return {path: _stamp(path) for folder in own for within in (folder, folder / GROUPS) for path in _files(within)}

    def _or_unreadable(self, path: Path) -> Graph:
        try:
            return self._open(path)
        except InputError as error:
            problem = Problem("unreadable", error.what, _label(path))
            return Graph(path.stem, _label(path), path, readable=False, problems=(problem,))

    def _inside(self, path: Path) -> bool:
        try:
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError):  # no file system has it
            return False
        return any(resolved.is_relative_to(folder.resolve()) for folder in (*self.folders, *self._named))

    def _open(self, path: Path) -> Graph:
        resolved = path.resolve()
        if resolved not in self._read:
            self._note(resolved)
            self._read[resolved] = self.parse(_bytes(path), _label(path), resolved)
        return self._read[resolved]

    def _note(self, path: Path) -> None:
        """Note how a file is before it is read. The shipped ones change only with the package."""
        if not path.is_relative_to(shipped()):
            self._stamped[path] = _stamp(path)


def load(name_or_path: str | Path, folders: Sequence[Path | str] = ()) -> Graph:
    """One graph by name or path; keep a `Library` where several belong together."""
    return Library(folders).load(name_or_path)


def _find(what: str, name: str, folders: Sequence[Path]) -> Path:
    """The file of the graph or group called `name` in the first folder that has one."""
    if GRAPH_NAME.fullmatch(name):
        for folder in folders:
            for suffix in SUFFIXES:
                if _exists(path := folder / (name + suffix)) and path.is_file():
                    return path
    names = {path.stem for folder in folders for path in _files(folder)}
    raise NotFound(unlike(what, name, sorted(names)), allowed=sorted(names))


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder that are named as graphs are. Folders, pipes and dangling links are no files."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # gone meanwhile, or not ours to list
        return
    for path in entries:
        if path.suffix in SUFFIXES and GRAPH_NAME.fullmatch(path.stem) and _is_file(path):
            yield path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _stamp(path: Path) -> _Stamp:
    """What tells that a file has changed; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError("not a file", where=str(path), allowed="a YAML file")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _exists(path: Path) -> bool:
    """Whether the file exists. A name that no file system takes is of no file."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _label(path: Path) -> str:
    """The path as problems show it: short where it lies in the working folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
