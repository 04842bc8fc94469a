"""Beginning a job, or going on with it: only the same job may go on in a folder, and the difference is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from acestep_flows.bulk.check import Checked, difference
from acestep_flows.bulk.job import FILE, BulkJob, read_job, to_text
from acestep_flows.errors import Conflict
from acestep_flows.graph.language.wording import clip

DIGESTS = "job.rows"
"""Eight bytes for each manifest row, beside `job.json`: a changed manifest is told row by row."""

MOST = 20

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
    """Where a job's own files are."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; None where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Put a file in place, whole."""


def begin(files: Files, job: BulkJob, checked: Checked) -> bool:
    """Write what the job is, or see that it is what has been begun here; whether it has.

    Raises:
        Conflict: another job has been begun here.
        InputError: what has been begun here is not readable as a job.
        StorageError: nothing can be written.
    """
    found = files.read(FILE)
    if found is None:
        files.write(DIGESTS, checked.digests)
        files.write(FILE, to_text(job).encode("utf-8", "surrogatepass"))  # last: where it stands, both stand
        return False
    before = _read(found)
    told = list(differences(before, job, files.read(DIGESTS) or b"", checked))
    if told:
        more = [f"and {len(told) - MOST} more differences"] if len(told) > MOST else []
        what = "not the job that was begun here; another --out begins a new one"
        raise Conflict("\n  ".join([what, *told[:MOST], *more]))
    return True


def differences(before: BulkJob, now: BulkJob, digests: bytes, checked: Checked) -> Iterator[str]:
    """Everything that would make other songs than those that are there, one line each."""
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
        yield f"{where}was {_shown(old)}, is {_shown(new)}"


def _shown(part: Any) -> str:
    return "nothing" if part is None else clip(json.dumps(part, ensure_ascii=False, default=str), 80)
