"""Manifests (parquet, jsonl, csv, tsv), read as a stream of records with their line numbers.

A record that cannot be read (no JSON, another encoding, too many cells) carries its problem, and the next one is read.
A file that cannot be read at all, or that has a column twice, is refused. `rows` checks whether cells fit a graph.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from acestep_flows.bulk import parquet_rows
from acestep_flows.bulk.csv_records import CsvRecord, delimiter_of, records
from acestep_flows.bulk.urls import url_parent
from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip, listing

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

MAX_LINE = 16_000_000
"""Bytes. A longer line means that the file is no manifest, or has lost its line breaks."""

MOST_BLANK = 1000
"""Blank lines before the column names."""

KINDS = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
PACKED = (".gz", ".bz2", ".zst", ".lz4")
_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
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
        """The folder that relative paths in cells start from: a path, or a URL for one on another file system."""
        if "://" not in self.url:
            return str(Path(self.url).expanduser().absolute().parent)
        from pyarrow import fs

        if not isinstance(self.files, fs.LocalFileSystem):
            return url_parent(self.url)
        return str(Path(self.files.from_uri(self.url)[1]).parent)

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
                        raise InputError(what, where=self.url, allowed=names[0])
                return _distinct(names[0], self.url)
            with self._stream() as stream:
                return self._header(self._csv_records(stream))

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

    def _csv_records(self, stream: BinaryIO) -> Iterator[CsvRecord]:
        """The records of a csv or tsv, the line of column names first."""
        lines = _text(stream, self.url)
        head: list[str] = []
        for line in itertools.islice(lines, MOST_BLANK + 1):
            head.append(line)
            if line.strip():
                break
        usual = "\t" if self.kind == "tsv" else ","
        delimiter = delimiter_of(head[-1], usual) if head else usual
        return records(itertools.chain(head, lines), delimiter, MAX_LINE, self.url)

    def _header(self, found: Iterator[CsvRecord]) -> tuple[str, ...]:
        header = next(found, None)
        if header is None:
            raise InputError("is empty", where=self.url, allowed="a line of column names, then rows")
        if header.problem is not None:
            raise InputError(f"line of column names: {header.problem}", where=self.url)
        return _distinct([name.strip() for name in header.cells], self.url)

    def _csv(self, stream: BinaryIO) -> Iterator[ManifestRow]:
        found = self._csv_records(stream)
        names = self._header(found)
        for record in found:
            if record.problem is not None:
                yield ManifestRow(record.line, problem=record.problem)
                continue
            if len(record.cells) != len(names):
                what = f"{len(record.cells)} cells where there are {len(names)} columns"
                yield ManifestRow(record.line, problem=what)
                continue
            filled = {name: cell for name, cell in zip(names, record.cells, strict=True) if cell}
            lost = [name for name, cell in filled.items() if is_lost(cell)]
            yield ManifestRow(record.line, filled, f"{listing(lost)}: not UTF-8" if lost else None)


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
        what = "of unknown kind" + ("; JSON has one object on each line, in .jsonl" if ".json" in path.lower() else "")
        packed = f"; text also compressed: {listing(PACKED)}"
        raise InputError(what, where=url, allowed=f"a name that ends in {listing(KINDS)}{packed}")
    return Manifest(url, kind, (path,), files)


def is_lost(cell: object) -> bool:
    """Whether a cell of a csv held bytes that are not UTF-8."""
    return isinstance(cell, str) and not cell.isascii() and _LOST.search(cell) is not None


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
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last: a column's name
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
            text = line.decode().rstrip(" \t\r\n")
            if not text.strip():
                continue
            content = _JSON.decode(text)
        except UnicodeDecodeError as error:
            yield ManifestRow(number, problem=f"not UTF-8 (byte {error.start + 1} of the line)")
        except json.JSONDecodeError as error:  # its own line and column are of this one line
            yield ManifestRow(number, problem=f"not JSON: {error.msg} (character {error.pos + 1} of the line)")
        except (ValueError, RecursionError) as error:
            reason = "nested too deep" if isinstance(error, RecursionError) else clip(str(error), 120)
            yield ManifestRow(number, problem=f"not JSON: {reason}")
        else:
            if isinstance(content, dict):
                yield ManifestRow(number, {name: cell for name, cell in content.items() if cell is not None})
            else:
                yield ManifestRow(number, problem='no JSON object, such as {"tags": "funk"}')


def _names(manifest: Manifest, path: str) -> list[str]:
    with manifest.files.open_input_file(path) as file:
        return parquet_rows.names_of(file)


def _parquet(manifest: Manifest, columns: Sequence[str] | None) -> Iterator[ManifestRow]:
    line = 0
    for path in manifest.paths:
        with manifest.files.open_input_file(path) as file:
            for cells in parquet_rows.rows(file, columns, manifest.url, MAX_LINE):
                line += 1
                yield ManifestRow(line, cells) if isinstance(cells, dict) else ManifestRow(line, problem=cells)
