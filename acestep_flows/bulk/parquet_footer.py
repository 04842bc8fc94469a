"""What the footer of a parquet file says of its columns, read in a child process.

Where the statistics of a column are damaged, pyarrow ends the process that asks for its size (C++ `terminate`). A
manifest must not end a job without a word, so a child asks. It gets the footer alone, not the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyarrow import NativeFile

MAGIC = b"PAR1"
TAIL = 8
"""Bytes behind the footer: its length and the magic."""

SECONDS = 60.0
"""Most that the child may take. It needs a fraction of a second, but machines may be busy."""

CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from acestep_flows.bulk.parquet_footer import describe
describe(sys.stdin.buffer.read(), sys.stdout)
"""


class ColumnChunk(NamedTuple):
    """A column of a row group.

    Attributes:
        group: number of the row group; `rows`: how many rows it has.
        path: names down to the column, joined by points.
        packed, unfolded: bytes in the file, and in memory.
        values: more than `rows` for lists.
    """

    group: int
    rows: int
    path: str
    packed: int
    unfolded: int
    values: int

    @property
    def column(self) -> str:
        """The name of the column that it is a part of."""
        return self.path.partition(".")[0]


def column_chunks(file: NativeFile) -> list[ColumnChunk]:
    """The columns of all row groups.

    Args:
        file: whose footer pyarrow has read before. It may be positioned anywhere.

    Raises:
        OSError: the footer is damaged.
    """
    size = file.size()
    file.seek(size - TAIL)
    footer = int.from_bytes(file.read(4), "little")
    file.seek(size - TAIL - footer)
    paths = json.dumps(sys.path)
    command = [sys.executable, "-P", "-c", CHILD, paths]
    try:
        child = subprocess.run(
            command, input=MAGIC + file.read(footer + TAIL), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"damaged: its footer was not read in {SECONDS:.0f} s") from None
    if child.returncode:
        raise OSError("damaged: its footer says what cannot be")
    return [ColumnChunk(*entry) for entry in json.loads(child.stdout)]


def describe(footer: bytes, out: Any) -> None:
    """Write the columns of a file as JSON, from its footer with the magic around it. This is what the child does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    json.dump(list(_chunks(pq.read_metadata(pa.BufferReader(footer)))), out)


def _chunks(metadata: Any) -> Iterator[ColumnChunk]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for chunk in (group.column(at) for at in range(group.num_columns)):
            sizes = (chunk.total_compressed_size, chunk.total_uncompressed_size, chunk.num_values)
            yield ColumnChunk(number, group.num_rows, chunk.path_in_schema, *sizes)
