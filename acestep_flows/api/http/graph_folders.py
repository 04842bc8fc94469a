"""The graphs that a server runs by name, as their files are now: a changed, new, broken or missing one is noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from acestep_flows.errors import GraphError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.library import Library


class GraphFolders:
    """Folders of graphs, read again when a file in them has changed. Its methods block; any thread may call them.

    Args:
        folders: the operator's; the shipped graphs come last. One that is gone has no graphs.
        check: checks a graph; raises GraphError.
    """

    def __init__(self, folders: Sequence[Path], check: Callable[[Graph, Library], Scope]) -> None:
        self._folders, self._check = folders, check
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._reading: _ReadFolders | None = None

    @property
    def library(self) -> Library:
        """The graphs as they are now."""
        return self._current().library

    def scope(self, name: str) -> Scope:
        """A checked graph by name. It is checked once, until a file changes.

        Raises:
            NotFound: there is no such graph.
            InputError: its file cannot be read.
            GraphError: the graph has problems.
        """
        reading = self._current()
        if name not in reading.scopes:
            try:
                reading.scopes[name] = self._check(reading.library.load(name), reading.library)
            except GraphError as error:
                reading.scopes[name] = error
        scope = reading.scopes[name]
        if isinstance(scope, GraphError):
            raise GraphError(scope.problems)
        return scope

    def picture(self, name: str) -> bytes:
        """A graph as PNG, drawn once, because it takes almost a second; raises as `scope`, but not GraphError."""
        reading = self._current()
        with self._drawing:
            if name not in reading.pictures:
                from acestep_flows.graph.views.draw_png import png

                reading.pictures[name] = png(reading.library.load(name))
            return reading.pictures[name]

    def _current(self) -> _ReadFolders:
        with self._lock:
            there = [folder for folder in self._folders if folder.is_dir()]
            if self._reading is None or self._reading.folders != there or self._reading.library.has_changed():
                self._reading = _ReadFolders(there)
            return self._reading


class _ReadFolders:
    """What is known of the folders since they were last read."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.library = Library(folders, working=None)
        self.scopes: dict[str, Scope | GraphError] = {}
        self.pictures: dict[str, bytes] = {}
