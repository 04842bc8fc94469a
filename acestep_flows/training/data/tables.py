"""Songs in the rows of a table: a Hugging Face data set on disk, or parquet files as bulk jobs write them.

Tables come from elsewhere, so any cell may hold a wrong value. A wrong cell is an `InputError` of its song alone.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.bulk.words import LYRICS, final_tags_and_lyrics
from acestep_flows.errors import InputError
from acestep_flows.optional_packages import require
from acestep_flows.training.data.encoded import MIX
from acestep_flows.training.data.song import Song, SongSource, prepare_recording, read_audio, read_recording, split_tags
from acestep_flows.training.loop.content_stamp import json_digest, stamp_by_time, stamp_files
from acestep_flows.values import Audio

AUDIO_COLUMNS = ("audio", "filename", "audio_path", "file")
STATE, SPLITS = "state.json", "dataset_dict.json"
"""Files that `datasets` writes: the list of the data set's arrow files, and the list of its splits."""


class TableSongs(SongSource):
    """The songs of a table with upstream's column names, or with those of a bulk job.

    Args:
        path: the table's file or folder. Relative names of audio files are resolved from there.
        files: the files that the table is read from.

    Raises:
        MissingPackage: pyarrow is not installed.
        InputError: the table cannot be read, or has no rows.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        require("bulk", f"{path}: reading it", ("pyarrow",))
        self._path, self._files = path, files
        if not len(self):
            raise InputError("a table without rows", where=str(path), allowed="at least one song")

    @abstractmethod
    def _read(self) -> Any:
        """Read the whole table, memory-mapped where that is possible."""

    @cached_property
    def _table(self) -> Any:
        import pyarrow as pa

        try:
            return self._read()
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"the table cannot be read: {reason}", where=str(self._path)) from None

    @cached_property
    def _stamp(self) -> str:
        return stamp_files(self._folder, self._files)

    @cached_property
    def _former_stamp(self) -> str:
        return stamp_by_time(self._folder, self._files)

    @property
    def _folder(self) -> Path:
        return self._path if self._path.is_dir() else self._path.parent

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _row(self, index: int) -> dict[str, Any]:
        return _row_of(self._table, index)

    def key(self, index: int) -> str:
        row = self._table.select([name for name in self._table.column_names if name in ("keys", "key", "id")])
        names = row.slice(index, 1).to_pydict().values()
        return str(next((name[0] for name in names if name[0]), f"row {index}"))

    def stamp(self, index: int) -> str:
        """sha256 of names and contents of the table's files, and of the song's own file where the row only names it."""
        columns = self._table.select([name for name in AUDIO_COLUMNS if name in self._table.column_names])
        file = self._audio_file(_audio_cell(_row_of(columns, index)))
        return self._stamp if file is None else json_digest([self._stamp, stamp_files(file.parent, [file])])

    def former_stamp(self, index: int) -> str:
        """sha256 of names, sizes and times of the table's files: the same for all songs."""
        return self._former_stamp

    def song(self, index: int) -> Song:
        row, key = self._row(index), self.key(index)
        if row.get("status") not in (None, "done", "ok"):
            raise InputError(f"the bulk job did not render it: {row.get('error') or row['status']}", where=key)
        texts = _texts(row)
        try:
            tags, lyrics, recaptions = _tags(texts), _lyrics(texts), _recaptions(texts)
        except InputError as error:
            raise InputError(str(error), where=key) from None
        return Song(key, tags, lyrics, {MIX: self._audio(row, key)}, recaptions)

    def _audio(self, row: Mapping[str, Any], key: str) -> Audio:
        cell = _audio_cell(row)
        if isinstance(cell, bytes):
            return prepare_recording(read_audio(cell), key)
        if not isinstance(cell, str):
            allowed = f"audio, or the name of an audio file, in column {', '.join(AUDIO_COLUMNS)}"
            raise InputError("no audio", where=key, allowed=allowed)
        file = self._audio_file(cell)
        if file is None:
            raise InputError(f"no file {_short_repr(cell)}", where=key)
        return read_recording(file)

    def _audio_file(self, cell: object) -> Path | None:
        """The file that a cell names, if there is one."""
        if not isinstance(cell, str):
            return None
        candidates = [Path(cell), self._folder / cell, self._folder.parent / cell]
        return next((path for path in candidates if storage.is_file(path)), None)


class Datasets(TableSongs):
    """A data set saved with `save_to_disk`, read without the `datasets` package."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _arrow_files(path))

    def _read(self) -> Any:
        import pyarrow as pa

        return pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in self._files])


class Parquet(TableSongs):
    """A parquet file, or all parquet files below a folder."""

    def __init__(self, path: Path) -> None:
        if (path / "job.json").is_file():
            dataset = path / "dataset"
            later = "" if dataset.is_dir() else ", which it has when songs are made"
            raise InputError("the folder of a bulk job", where=str(path), allowed=f"its data set: {dataset}{later}")
        files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not files:
            raise InputError("no parquet files", where=str(path))
        super().__init__(path, files)

    def _read(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet

        return pa.concat_tables([pa.parquet.read_table(file) for file in self._files], promote_options="permissive")


def _arrow_files(path: Path) -> list[Path]:
    """The files in the data set's own list; other arrow files are caches. Of several splits, take `train`."""
    folder = path if (path / STATE).is_file() or not (path / SPLITS).is_file() else path / "train"
    state = folder / STATE
    try:
        entries = json.loads(state.read_text(encoding="utf-8"))["_data_files"]
        files = [folder / str(entry["filename"]) for entry in entries]
    except FileNotFoundError:
        allowed = f"a folder written by `save_to_disk`, with {STATE}; one of several splits must be called train"
        raise InputError("no data set", where=str(path), allowed=allowed) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"not readable: {error!r}", where=str(state)) from None
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(f"no file {missing[0]}", where=str(folder), allowed=f"all files that {STATE} lists")
    if not files:
        raise InputError("a table without rows", where=str(path), allowed="at least one song")
    return files


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row that are not empty, over the inputs of a bulk job's row."""
    inputs = row.get("inputs_json") or row.get("inputs")
    if isinstance(inputs, str):
        try:
            inputs = json.loads(inputs)
        except ValueError:
            inputs = None
    return {**(inputs if isinstance(inputs, Mapping) else {}), **{k: v for k, v in row.items() if v is not None}}


def _tags(texts: Mapping[str, Any]) -> tuple[str, ...]:
    tags = final_tags_and_lyrics(texts)[0] or texts.get("tags") or ()
    if isinstance(tags, str):
        return split_tags(tags)
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise InputError(_short_repr(tags), where="tags", allowed="a list of texts, or one text with commas")
    return tuple(tags)


def _lyrics(texts: Mapping[str, Any]) -> str:
    for name in ("norm_lyrics", *LYRICS):
        if not isinstance(texts.get(name), str | None):
            raise InputError(_short_repr(texts[name]), where=name, allowed="a text")
    return texts.get("norm_lyrics") or final_tags_and_lyrics(texts)[1]


def _recaptions(texts: Mapping[str, Any]) -> dict[str, str]:
    """Other captions by kind; a text column holds them as JSON."""
    captions = texts.get("recaption") or {}
    if isinstance(captions, str):
        try:
            captions = json.loads(captions)
        except ValueError:
            captions = None
    if not isinstance(captions, Mapping) or not all(isinstance(text, str | None) for text in captions.values()):
        raise InputError(
            _short_repr(texts["recaption"]), where="recaption", allowed="a struct of texts, or one as JSON"
        )
    return {str(kind): text for kind, text in captions.items() if text}


def _row_of(table: Any, index: int) -> dict[str, Any]:
    return {name: value[0] for name, value in table.slice(index, 1).to_pydict().items()}


def _audio_cell(row: Mapping[str, Any]) -> Any:
    """The audio of a row, or the name of its file; None where it has neither."""
    cell = next((row[name] for name in AUDIO_COLUMNS if row.get(name)), None)
    return cell.get("bytes") or cell.get("path") if isinstance(cell, Mapping) else cell


def _short_repr(cell: object) -> str:
    return repr(cell)[:60]
