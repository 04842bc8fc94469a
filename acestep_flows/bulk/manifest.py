"""Manifests (parquet, jsonl, csv, tsv), read as a stream of records with their line numbers.

A record that cannot be read (no JSON, another encoding, too many cells) carries its problem, and the next one is read.
A file that cannot be read at all, or that has a column twice, is refused. `rows` checks whether cells fit a graph.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip, listing

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

MAX_LINE = 16_000_000
"""Bytes. A longer line means that the file is no manifest, or has lost its line breaks."""

BATCH = 1024
KINDS = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
PACKED = (".gz", ".bz2", ".zst", ".lz4")
_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_INDEX = re.compile(r"__index_level_\d+__")
_LOST = re.compile(r"[\udc80-\udcff]")


@dataclass(frozen=True)
class ManifestRow:
    """One row as it is in the file. Empty csv cells and nulls are not among the `cells`."""

    line: int
    cells: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A manifest file of a known kind, not read yet.

    Attributes:
        url: as given.
        kind: parquet, jsonl, csv or tsv.
        paths: in the file system; several for a folder of parquet files, which are one table.
    """

    url: str
    kind: str
    paths: tuple[str, ...]
    files: FileSystem = field(repr=False)

    @property
    def textual(self) -> bool:
        """Whether cells are text, to be read by the graph's types."""
        return self.kind in ("csv", "tsv")

    @property
    def base(self) -> str:
        """The folder that relative paths in cells start from: the manifest's own; empty for a remote one."""
        return "" if "://" in self.url else str(Path(self.url).expanduser().absolute().parent)

    def columns(self) -> tuple[str, ...] | None:
        """The columns of every row; None for jsonl, where each row has its own.

        Raises:
            InputError: the file cannot be read, is empty, or has a column twice or without a name.
        """
        if self.kind == "jsonl":
            return None
        with _read_errors(self.url):
            if self.kind == "parquet":
                names = [_names(self, path) for path in self.paths]
                for path, other in zip(self.paths, names, strict=True):
                    if set(other) != set(names[0]):
                        what = f"{PurePosixPath(path).name} has other columns: {listing(other)}"
                        raise InputError(what, where=self.url, allowed=listing(names[0]))
                return _distinct(names[0], self.url)
            with self._stream() as stream:
                return self._header(csv.reader(_text(stream, self.url), delimiter=self._delimiter, strict=True))

    def records(self, columns: Sequence[str] | None = None) -> Iterator[ManifestRow]:
        """Every row in order; of parquet only `columns`.

        Raises:
            InputError: the file cannot be read.
        """
        with _read_errors(self.url):
            if self.kind == "parquet":
                yield from _parquet(self, columns)
                return
            with self._stream() as stream:
                if self.kind == "jsonl":
                    yield from _jsonl(stream, self.url)
                else:
                    yield from self._csv(stream)

    @property
    def _delimiter(self) -> str:
        return "\t" if self.kind == "tsv" else ","

    def _stream(self) -> BinaryIO:
        raw = self.files.open_input_stream(self.paths[0], compression="detect")
        stream = io.BufferedReader(raw, 1 << 20)
        start = stream.peek(4)[:4]
        for mark, encoding in _BOMS:
            if start.startswith(mark):
                raise InputError(f"is {encoding}", where=self.url, allowed="UTF-8")
        if start.startswith(b"\xef\xbb\xbf"):
            stream.read(3)
        return stream

    def _header(self, rows: Iterator[list[str]]) -> tuple[str, ...]:
        try:
            header = next(row for row in rows if row)
        except StopIteration:
            raise InputError("is empty", where=self.url, allowed="a line of column names, then rows") from None
        except csv.Error as error:
            raise InputError(f"line of column names: {error}", where=self.url) from None
        return _distinct([name.strip() for name in header], self.url)

    def _csv(self, stream: BinaryIO) -> Iterator[ManifestRow]:
        rows = csv.reader(_text(stream, self.url), delimiter=self._delimiter, strict=True)
        names = self._header(rows)
        before = rows.line_num
        while True:
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield ManifestRow(before + 1, problem=f"not readable as csv: {error}")
                before = max(rows.line_num, before + 1)
                continue
            line, before = before + 1, rows.line_num
            if not cells:
                continue
            if len(cells) != len(names):
                yield ManifestRow(line, problem=f"{len(cells)} cells where there are {len(names)} columns")
                continue
            filled = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
            lost = [name for name, cell in filled.items() if not cell.isascii() and _LOST.search(cell)]
            yield ManifestRow(line, filled, f"{listing(lost)}: not UTF-8" if lost else None)


def open_manifest(url: str) -> Manifest:
    """The manifest at `url`: a local path, or a URL of any file system that pyarrow knows (s3://, gs://, hdfs://).

    Raises:
        InputError: there is none, or its kind is unknown.
    """
    from pyarrow import fs

    if not url or "\0" in url:
        raise InputError(f"{url[:80]!r}", where="manifest", allowed="a file or a URL")
    with _read_errors(url):
        if "://" in url:
            files, path = fs.FileSystem.from_uri(url)
        else:
            files, path = fs.LocalFileSystem(), str(Path(url).expanduser().absolute())
        info = files.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise InputError("no such file", where=url, allowed="a parquet, jsonl or csv file")
        if info.type == fs.FileType.Directory:
            inside = sorted(part.path for part in files.get_file_info(fs.FileSelector(path)) if part.is_file)
            parts = tuple(part for part in inside if _kind(part) == "parquet")
            if not parts:
                raise InputError("a folder without parquet files", where=url, allowed="a file, or such a folder")
            return Manifest(url, "parquet", parts, files)
    kind = _kind(path)
    if kind is None:
        raise InputError(
            "of unknown kind", where=url, allowed=f"a name that ends in {listing(KINDS)}, text also packed"
        )
    return Manifest(url, kind, (path,), files)


def _kind(path: str) -> str | None:
    name = PurePosixPath(path.lower())
    if name.suffix in PACKED:
        inner = KINDS.get(PurePosixPath(name.stem).suffix)
        return None if inner == "parquet" else inner
    return KINDS.get(name.suffix)


@contextmanager
def _read_errors(url: str) -> Iterator[None]:
    """Turn errors of file systems and pyarrow into one line about the manifest."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"cannot be read: {clip(str(reason), 300)}", where=url) from None


def _distinct(names: Sequence[str], url: str) -> tuple[str, ...]:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if "" in names:
        what = "a column without a name (a data frame's index is written so)"
        raise InputError(what, where=url, allowed="a name for each column")
    if twice:
        raise InputError(f"columns twice: {listing(clip(name) for name in twice)}", where=url)
    return tuple(names)


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines with their line breaks; None for one that is too long."""
    while line := stream.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE)
        yield None


def _text(stream: BinaryIO, url: str) -> Iterator[str]:
    for number, line in enumerate(_lines(stream), 1):
        if line is None:
            raise InputError(f"line {number} is longer than {MAX_LINE} bytes", where=url)
        yield line.decode("utf-8", "surrogateescape")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) != len(pairs):
        times = Counter(name for name, _ in pairs)
        raise ValueError(f"{clip(next(name for name, count in times.items() if count > 1))} is there twice")
    return cells


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _jsonl(stream: BinaryIO, url: str) -> Iterator[ManifestRow]:
    for number, line in enumerate(_lines(stream), 1):
        if line is None:
            yield ManifestRow(number, problem=f"longer than {MAX_LINE} bytes")
            continue
        try:
            text = line.decode().strip(" \t\r\n")
            if not text:
                continue
            content = _JSON.decode(text)
        except UnicodeDecodeError as error:
            yield ManifestRow(number, problem=f"not UTF-8 (byte {error.start + 1} of the line)")
        except (ValueError, RecursionError) as error:
            yield ManifestRow(number, problem=f"not JSON: {clip(str(error) or 'nested too deep', 120)}")
        else:
            if isinstance(content, dict):
                yield ManifestRow(number, {name: cell for name, cell in content.items() if cell is not None})
            else:
                yield ManifestRow(number, problem='no JSON object, such as {"tags": "funk"}')


def _names(manifest: Manifest, path: str) -> list[str]:
    import pyarrow.parquet as pq

    with manifest.files.open_input_file(path) as file:
        return [name for name in pq.ParquetFile(file).schema_arrow.names if not _INDEX.fullmatch(name)]


def _parquet(manifest: Manifest, columns: Sequence[str] | None) -> Iterator[ManifestRow]:
    import pyarrow.parquet as pq

    line = 0
    for path in manifest.paths:
        with manifest.files.open_input_file(path) as file:
            table = pq.ParquetFile(file)
            names = [name for name in table.schema_arrow.names if not _INDEX.fullmatch(name)]
            wanted = names if columns is None else [name for name in names if name in columns]
            for batch in table.iter_batches(BATCH, columns=wanted):
                for cells in _rows(batch):
                    line += 1
                    yield ManifestRow(line, cells) if isinstance(cells, dict) else ManifestRow(line, problem=cells)


def _rows(batch: Any) -> Iterable[dict[str, Any] | str]:
    try:
        rows = batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):  # a cell that Python cannot hold: read row by row
        return (_row(batch.slice(i, 1)) for i in range(batch.num_rows))
    return ({name: cell for name, cell in cells.items() if not _absent(cell)} for cells in rows)


def _row(batch: Any) -> dict[str, Any] | str:
    try:
        return {name: cell for name, cell in batch.to_pylist()[0].items() if not _absent(cell)}
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, OverflowError) as error:
        return f"a cell that cannot be read: {clip(str(error), 120)}"


def _absent(cell: Any) -> bool:
    """A null; data frames write NaN for it."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
