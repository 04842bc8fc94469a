"""Songs in the rows of a table: a Hugging Face data set on disk, or parquet as bulk jobs write it.

Cells are what somebody else has put there: one that is not what its column is for is its song's matter alone.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from acestep_flows.bulk.formats.words import LYRICS, heard
from acestep_flows.errors import InputError
from acestep_flows.training.data.encoded import MIX
from acestep_flows.training.data.song import Song, SongSource, prepared, read_audio, recording, split_tags
from acestep_flows.training.loop.content_stamp import stamp
from acestep_flows.values import Audio

AUDIO_COLUMNS = ("audio", "filename", "audio_path", "file")
STATE, SPLITS = "state.json", "dataset_dict.json"
"""What `datasets` writes beside the arrow files: which of them are the data set's, and which splits there are."""


class TableSongs(SongSource):
    """Songs by upstream's column names, or by those of a bulk job.

    Args:
        path: of the table, for errors and for audio files that are named as seen from there.
        files: what it is read from.

    Raises:
        InputError: it cannot be read, or has no rows.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        self._path, self._files = path, files
        if not len(self):
            raise InputError("a table without rows", where=str(path), allowed="at least one song")

    @abstractmethod
    def _read(self) -> Any:
        """The whole table, mapped where that can be."""

    @cached_property
    def _table(self) -> Any:
        import pyarrow as pa

        try:
            return self._read()
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"not readable: {error}", where=str(self._path)) from None

    @cached_property
    def _stamp(self) -> str:
        return stamp(self._folder, self._files)

    @property
    def _folder(self) -> Path:
        return self._path if self._path.is_dir() else self._path.parent

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _row(self, index: int) -> dict[str, Any]:
        return {name: value[0] for name, value in self._table.slice(index, 1).to_pydict().items()}

    def key(self, index: int) -> str:
        row = self._table.select([name for name in self._table.column_names if name in ("keys", "key", "id")])
        names = row.slice(index, 1).to_pydict().values()
        return str(next((name[0] for name in names if name[0]), f"row {index}"))

    def stamp(self, index: int) -> str:
        """Of the table's files, for all songs alike: what rows hold is not looked at."""
        return self._stamp

    def song(self, index: int) -> Song:
        row, key = self._row(index), self.key(index)
        if row.get("status") not in (None, "done", "ok"):
            raise InputError(f"not rendered: {row.get('error') or row['status']}", where=key)
        given = _given(row)
        try:
            tags, lyrics, recaptions = _tags(given), _lyrics(given), _recaptions(given)
        except InputError as error:
            raise InputError(str(error), where=key) from None
        return Song(key, tags, lyrics, {MIX: self._audio(row, key)}, recaptions)

    def _audio(self, row: Mapping[str, Any], key: str) -> Audio:
        found = next((row[name] for name in AUDIO_COLUMNS if row.get(name)), None)
        if isinstance(found, Mapping):
            found = found.get("bytes") or found.get("path")
        if isinstance(found, bytes):
            return prepared(read_audio(found), key)
        if not isinstance(found, str):
            raise InputError("no audio", where=key, allowed="a column " + ", ".join(AUDIO_COLUMNS))
        candidates = [Path(found), self._folder / found, self._folder.parent / found]
        file = next((path for path in candidates if _is_file(path)), None)
        if file is None:
            raise InputError(f"no file {_shown(found)}", where=key)
        return recording(file)


class Datasets(TableSongs):
    """The arrow files of `save_to_disk`, read without the `datasets` package."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _arrow_files(path))

    def _read(self) -> Any:
        import pyarrow as pa

        return pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in self._files])


class Parquet(TableSongs):
    """Parquet files, as bulk jobs write them."""

    def __init__(self, path: Path) -> None:
        found = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not found:
            raise InputError("no parquet files", where=str(path))
        super().__init__(path, found)

    def _read(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet

        return pa.concat_tables([pa.parquet.read_table(file) for file in self._files], promote_options="permissive")


def _arrow_files(path: Path) -> list[Path]:
    """The files that the data set's own list names; others beside them are caches. Of several splits, `train`."""
    folder = path if (path / STATE).is_file() or not (path / SPLITS).is_file() else path / "train"
    state = folder / STATE
    try:
        listed = json.loads(state.read_text(encoding="utf-8"))["_data_files"]
        files = [folder / str(entry["filename"]) for entry in listed]
    except FileNotFoundError:
        allowed = f"a folder written by `save_to_disk`, with {STATE}; of several splits one is called train"
        raise InputError("no data set", where=str(path), allowed=allowed) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"not readable: {error!r}", where=str(state)) from None
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(f"no file {missing[0]}", where=str(folder), allowed=f"those that {STATE} lists")
    if not files:
        raise InputError("a table without rows", where=str(path), allowed="at least one song")
    return files


def _given(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tags and lyrics of a row: columns of their own, or the inputs of a bulk job's row."""
    inputs = row.get("inputs_json") or row.get("inputs")
    if isinstance(inputs, str):
        try:
            inputs = json.loads(inputs)
        except ValueError:
            inputs = None
    return {**(inputs if isinstance(inputs, Mapping) else {}), **{k: v for k, v in row.items() if v is not None}}


def _tags(given: Mapping[str, Any]) -> tuple[str, ...]:
    tags = heard(given)[0] or given.get("tags") or ()
    if isinstance(tags, str):
        return split_tags(tags)
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise InputError(_shown(tags), where="tags", allowed="texts, or one with commas")
    return tuple(tags)


def _lyrics(given: Mapping[str, Any]) -> str:
    for name in ("norm_lyrics", *LYRICS):
        if not isinstance(given.get(name), str | None):
            raise InputError(_shown(given[name]), where=name, allowed="a text")
    return given.get("norm_lyrics") or heard(given)[1]


def _recaptions(given: Mapping[str, Any]) -> dict[str, str]:
    """Other captions by kind; a column without structs has them as JSON."""
    found = given.get("recaption") or {}
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = None
    if not isinstance(found, Mapping) or not all(isinstance(text, str | None) for text in found.values()):
        raise InputError(_shown(given["recaption"]), where="recaption", allowed="texts by name, or those as JSON")
    return {str(kind): text for kind, text in found.items() if text}


def _shown(cell: object) -> str:
    return repr(cell)[:60]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a name can be, or no name at all
        return False
