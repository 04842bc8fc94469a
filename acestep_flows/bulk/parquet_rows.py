"""Rows of parquet files as Python values, a bounded number of bytes at a time.

A file of some kilobytes can hold gigabytes: one text a million times, or zeros that are packed. So texts are read by
their dictionaries, only a few rows become Python values at once, and what unfolds beyond reason is refused.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from acestep_flows.bulk.parquet_footer import ColumnChunk, column_chunks
from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import NativeFile

BATCH = 1024
"""Most rows read at once."""

BYTES = 16_000_000
"""Bytes that are read or made into Python values at once, unless one row has more."""

BUFFER = 2**20
"""Bytes of a column that are read from the file at once; by default it would be the column of a whole row group."""

LARGE_COLUMN, MOST_UNFOLDED = 256_000_000, 1000
"""A column of a row group that has more bytes than the first, and more than the second for each byte in the file, is
refused: it would be unpacked whole."""

MOST_VALUES = 50_000_000
"""Values of a column of lists in a row group; as one row they would be read whole."""

_INDEX = re.compile(r"__index_level_\d+__")


def names_of(file: NativeFile) -> list[str]:
    """The columns of a file, without the index of a data frame."""
    import pyarrow.parquet as pq

    return _names(pq.ParquetFile(file).schema_arrow)


def rows(file: NativeFile, columns: Collection[str] | None, where: str, longest: int) -> Iterator[dict[str, Any] | str]:
    """The cells of each row, nulls left out; a text says why a row cannot be read.

    Args:
        file: positioned anywhere.
        columns: those that are read; None: all.
        where: the manifest, in errors.
        longest: bytes of the texts of a row.

    Raises:
        InputError: a column unfolds to far more than the file has.
    """
    import pyarrow.parquet as pq

    found = pq.ParquetFile(file)
    names = [name for name in _names(found.schema_arrow) if columns is None or name in columns]
    size = _batch_size((chunk for chunk in column_chunks(file) if chunk.column in names), where)
    texts = [name for name in names if _is_text(found.schema_arrow.field(name).type)]
    table = pq.ParquetFile(file, metadata=found.metadata, read_dictionary=texts, pre_buffer=False, buffer_size=BUFFER)
    for batch in table.iter_batches(size, columns=names):
        yield from _rows(batch, longest)


def _names(schema: pa.Schema) -> list[str]:
    return [name for name in schema.names if not _INDEX.fullmatch(name)]


def _batch_size(chunks: Iterable[ColumnChunk], where: str) -> int:
    """Rows to read at once, by the mean size of rows in the row groups.

    Raises:
        InputError: a column unfolds to far more than the file has.
    """
    sizes: Counter[int] = Counter()
    rows = {}
    for chunk in chunks:
        _check(chunk, where)
        sizes[chunk.group] += max(chunk.unfolded, 8 * (chunk.values - chunk.rows))
        rows[chunk.group] = max(1, chunk.rows)
    largest = max((size / rows[group] for group, size in sizes.items()), default=1.0)
    return max(1, min(BATCH, int(BYTES / max(1.0, largest))))


def _check(chunk: ColumnChunk, where: str) -> None:
    """Raise InputError for a column of a row group that would take far more memory than the file has bytes."""
    if chunk.unfolded > LARGE_COLUMN and chunk.unfolded > MOST_UNFOLDED * chunk.packed:
        what = f"column {clip(chunk.path)} unfolds from {chunk.packed} bytes to {chunk.unfolded}"
        raise InputError(what, where=where, allowed=f"up to {MOST_UNFOLDED} for each byte")
    if chunk.values > max(MOST_VALUES, chunk.rows):
        what = f"column {clip(chunk.path)} has {chunk.values} values in one row group"
        raise InputError(what, where=where, allowed=f"up to {MOST_VALUES}: smaller row groups")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _rows(batch: pa.RecordBatch, longest: int) -> Iterator[dict[str, Any] | str]:
    sizes = _sizes(batch)
    start = 0
    while start < batch.num_rows:
        if sizes[start] > longest:
            yield f"longer than {longest} bytes"
            start += 1
            continue
        end, together = start, 0
        while end < batch.num_rows and sizes[end] <= longest and (end == start or together + sizes[end] <= BYTES):
            together += sizes[end]
            end += 1
        yield from _values(batch.slice(start, end - start))
        start = end


def _sizes(batch: pa.RecordBatch) -> list[int]:
    """Bytes of the texts in each row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        kind = column.type
        if pa.types.is_dictionary(kind) and _is_text(kind.value_type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
        elif _is_text(kind):
            lengths = pc.binary_length(column)
        else:
            whole += column.nbytes // max(1, batch.num_rows)
            continue
        whole += pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return [int(size) for size in whole]


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    try:
        found = batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):  # a cell that Python cannot hold: read row by row
        yield from (_row(batch.slice(at, 1)) for at in range(batch.num_rows))
        return
    yield from ({name: cell for name, cell in cells.items() if not _absent(cell)} for cells in found)


def _row(batch: pa.RecordBatch) -> dict[str, Any] | str:
    try:
        return {name: cell for name, cell in batch.to_pylist()[0].items() if not _absent(cell)}
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, OverflowError) as error:
        return f"a cell that cannot be read: {clip(str(error), 120)}"


def _absent(cell: Any) -> bool:
    """A null; data frames write NaN for it."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
