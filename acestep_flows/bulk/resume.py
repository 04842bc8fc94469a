"""Begin a job or go on with it. Only the same job may go on in a folder; otherwise the difference is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from acestep_flows.bulk.check import Checked, difference
from acestep_flows.bulk.job import FILE, BulkJob, read_job, to_text
from acestep_flows.errors import Conflict
from acestep_flows.graph.language.wording import clip

DIGESTS = "job.rows"
"""Eight bytes for each manifest row, beside `job.json`, by which changes of a manifest are shown row by row."""

MOST_DIFFERENCES = 20
"""Shown in an error; further ones are only counted."""

_OPTIONS = {
    "seed": "--job-seed",
    "constants": "--set",
    "sweeps": "--sweep",
    "gates": "--require",
    "retakes": "--retake",
    "layout": "--format",
    "audio": "--audio",
    "embed": "--embed",
    "folder_size": "--folder-size",
    "on_bad_row": "--on-bad-row",
    "audio_output": "--output",
}


class Files(Protocol):
    """The folder of a job, as far as it is needed here."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; None where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Put a file in place, whole."""


def begin(files: Files, job: BulkJob, checked: Checked) -> bool:
    """Write the job to its folder, or check that it is the same as the job there.

    Returns True if a job was already there.

    Raises:
        Conflict: the folder holds another job.
        InputError: the `job.json` there cannot be read.
        StorageError: the folder cannot be written.
    """
    content = files.read(FILE)
    if content is None:
        files.write(DIGESTS, checked.digests)
        files.write(FILE, to_text(job).encode("utf-8", "surrogatepass"))  # last: where it is, both are
        return False
    changes = list(differences(_read(content), job, files.read(DIGESTS) or b"", checked))
    if changes:
        hidden = len(changes) - MOST_DIFFERENCES
        more = [f"and {hidden} more differences"] if hidden > 0 else []
        what = "not the job that was begun here; another --out begins a new one"
        raise Conflict("\n  ".join([what, *changes[:MOST_DIFFERENCES], *more]))
    return True


def differences(before: BulkJob, now: BulkJob, digests: bytes, checked: Checked) -> Iterator[str]:
    """Every difference that would make other songs, one line each."""
    if before.source.digest != now.source.digest:
        columns = set(before.source.columns) ^ set(now.source.columns)
        if columns:
            yield f"manifest: columns only on one side: {', '.join(sorted(columns))}"
        for line in difference(digests, checked):
            yield f"manifest: {line}"
    if before.digest != now.digest:
        yield from (f"graph: {line}" for line in _changes(before.content, now.content))
    yield from (f"weights: {line}" for line in _changes(before.weights, now.weights))
    yield from (f"stage versions: {line}" for line in _changes(before.stages, now.stages))
    old, new = before.as_json(), now.as_json()
    for name, option in _OPTIONS.items():
        yield from (f"{option}: {line}" for line in _changes(old[name], new[name]))


def _read(content: bytes) -> BulkJob:
    try:
        return read_job(json.loads(content.decode("utf-8", "surrogatepass")))
    except ValueError:
        return read_job(None)


def _changes(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Where two pieces of plain data differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(name), new.get(name), f"{path}.{name}".strip("."))
    elif old != new:
        where = f"{path} " if path else ""
        yield f"{where}was {_show(old)}, is {_show(new)}"


def _show(value: Any) -> str:
    return "nothing" if value is None else clip(json.dumps(value, ensure_ascii=False, default=str), 80)
