"""One song to make: a manifest row, checked, named, and with its inputs complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """A row of the job: a manifest row, or one of the combinations that a sweep makes of it.

    Attributes:
        index: position in the whole job, from 0; the same in every shard and after every resume.
        line: where the manifest has it: the line of a text file, the row of a parquet file, both from 1.
        id: the row's `id`, or a digest of its inputs; unique in the job.
        stem: name for files, made from the id: safe on any file system, unique where ids are.
        inputs: plain JSON by input name as `lay_out` takes them, seeds drawn; audio and other values as absolute
            paths or URLs (`inputs.opened` reads them).
        problem: why the row cannot be run; then `inputs` is as it was found. None: it can.
    """

    index: int
    line: int
    id: str
    stem: str
    inputs: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
