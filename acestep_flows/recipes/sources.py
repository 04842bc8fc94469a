"""Find the files that a recipe names: by path, beside the recipe, in other folders, by content, and in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.stored_recipe import FileInput
from acestep_flows.storage import user_path
from acestep_flows.values import Value

MOST_READ = 200
"""Files that a search by content reads for all inputs of a recipe: songs have to be decoded for it."""

SUFFIXES = {"audio": (".wav", ".flac", ".mp3", ".ogg", ".aif", ".aiff", ".caf")}
"""Files that may hold a kind of value; others are safetensors."""

BY_FOLDER = "--sources FOLDER with the file under any name"
BY_INPUT = "--set {name}=FILE, or --sources FOLDER with the file under any name"
FROM_PYTHON = "{name}=..., the value or the path of a file with it"


@dataclass
class SourceFinder:
    """Finds files of a recipe and reads them.

    Attributes:
        reader: reads the files, and keeps the path of each for the next recipe.
        beside: the folder of the recipe.
        folders: more folders to look in, not below them.
        store: stored results, in which values are found by digest.
        advice: how to give a file that is not found; `{name}` is its input.
    """

    reader: InputReader
    beside: Path | None = None
    folders: Sequence[Path] = ()
    store: DiskStore | None = None
    advice: str = BY_FOLDER
    _found: dict[tuple[str, str, tuple[str, ...]], Value] = field(default_factory=dict, init=False)
    _digests: dict[tuple[Path, str], str] = field(default_factory=dict, init=False)
    _listed: dict[Path, dict[Path, float]] = field(default_factory=dict, init=False)

    def inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs with the value of every file in them.

        Raises:
            InputError: a file is missing, has changed, or cannot be read.
        """
        return {name: self._filled(content, name) for name, content in inputs.items()}

    def find(self, wanted: FileInput, name: str) -> Value:
        """The value of a file.

        Args:
            name: of the input that wants it.

        Raises:
            InputError: the file is missing, has changed, or cannot be read; says where it was and how to give it.
        """
        key = (wanted.kind, wanted.digest, wanted.paths)
        if key not in self._found:
            self._found[key] = self._search(wanted, name)
        return self._found[key]

    def _filled(self, content: Any, name: str) -> Any:
        if isinstance(content, FileInput):
            return self.find(content, name)
        if isinstance(content, Mapping):
            return {key: self._filled(part, f"{name}.{key}") for key, part in content.items()}
        if isinstance(content, list):
            return [self._filled(part, f"{name}[{i}]") for i, part in enumerate(content)]
        return content

    def _search(self, wanted: FileInput, name: str) -> Value:
        changed: list[str] = []
        tried: set[Path] = set()
        for path in self._places(wanted):
            if _resolved(path) in tried or not storage.is_file(path):
                continue
            tried.add(_resolved(path))
            value = self.reader.value(str(path), wanted.kind, name)
            if not wanted.digest or value.digest == wanted.digest:
                return value
            changed.append(str(path))
        if wanted.digest:
            for path in self._alike(wanted, tried):
                if self._digest(path, wanted.kind, name) == wanted.digest:
                    return self.reader.value(str(path), wanted.kind, name)
            if self.store is not None and (stored := self.store.find(wanted.kind, wanted.digest)) is not None:
                return stored
        raise InputError(_missing(wanted, changed), where=name, allowed=self.advice.format(name=name.partition("[")[0]))

    def _places(self, wanted: FileInput) -> Iterator[Path]:
        """Where the file lies if nobody renamed it."""
        for text in wanted.paths:
            yield _path(text)
        folders = [*([self.beside] if self.beside is not None else []), *self.folders]
        for folder in folders:
            for text in wanted.paths:
                if not _path(text).is_absolute():
                    yield folder / _path(text)
            if wanted.name:
                yield folder / wanted.name

    def _digest(self, path: Path, kind: str, name: str) -> str:
        """The digest of the value in a file; empty where it holds none. Each file is read once, at most so many."""
        if (path, kind) not in self._digests:
            if len(self._digests) >= MOST_READ:
                return ""
            try:
                self._digests[path, kind] = InputReader().value(str(path), kind, name).digest
            except InputError:
                self._digests[path, kind] = ""
        return self._digests[path, kind]

    def _files(self, folder: Path) -> dict[Path, float]:
        """The plain files in a folder with the times of their last change. A folder is listed once."""
        if folder not in self._listed:
            try:
                entries = [entry for entry in folder.iterdir() if entry.is_file()]
                self._listed[folder] = {entry: entry.stat().st_mtime for entry in entries}
            except OSError:
                self._listed[folder] = {}
        return self._listed[folder]

    def _alike(self, wanted: FileInput, tried: set[Path]) -> Iterator[Path]:
        """Files that may hold the value under another name, the latest first."""
        folders = [*self.folders, *([self.beside] if self.beside is not None else [])]
        folders += [_path(text).parent for text in wanted.paths]
        suffixes = SUFFIXES.get(wanted.kind, (".safetensors",))
        files: dict[Path, float] = {}
        for folder in dict.fromkeys(folders):
            files |= {
                entry: changed
                for entry, changed in self._files(folder).items()
                if entry.suffix.lower() in suffixes and _resolved(entry) not in tried
            }
        unique = {_resolved(path): path for path in sorted(files, key=files.__getitem__)}
        yield from list(reversed(unique.values()))[:MOST_READ]


def _missing(wanted: FileInput, changed: Sequence[str]) -> str:
    """What is told of a file that is not found."""
    digest = f", {wanted.kind} with digest {wanted.digest[:16]}" if wanted.digest else ""
    if changed:
        return f"{changed[0]} has changed since the recipe was written{digest}"
    if not wanted.paths:
        return f"the recipe names no file for this {wanted.kind}{digest}"
    whole = next((path for path in wanted.paths[1:] if _path(path).is_absolute()), None)
    was = f"{wanted.paths[0]} ({whole})" if whole is not None else wanted.paths[0]
    return f"{wanted.name} is missing{digest}; it was {was}"


def _path(text: str) -> Path:
    """The path a recipe names. What no file system has is nowhere."""
    try:
        return user_path(text, "recipe")
    except InputError:
        return Path("/nonexistent")


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path
