"""Begin a job or go on with it. Only the same job may go on in a folder; otherwise the difference is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from acestep_flows.bulk.check import Checked, difference
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job import FILE, BulkJob, read_job, to_text
from acestep_flows.errors import ChangedJob
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


def begin(files: Files, job: BulkJob, checked: Checked, *, upgrade: bool = False) -> bool:
    """Write the job to its folder, or check that it is the same as the job there, as `is_begun` does.

    Returns True if a job was already there.

    Raises:
        ChangedJob, InputError: as `is_begun`.
        StorageError: the folder cannot be written.
    """
    there = is_begun(files, job, checked, upgrade=upgrade)
    if not there:
        files.write(DIGESTS, checked.digests)
    if upgrade or not there:
        files.write(FILE, to_text(job).encode("utf-8", "surrogatepass"))  # last: where it is, both are
    return there


def is_begun(files: Files, job: BulkJob, checked: Checked, *, upgrade: bool = False) -> bool:
    """Whether the job was begun in its folder. Writes nothing.

    Args:
        upgrade: go on although the graph or the versions of stages have changed, as after an update of this package.
            Rows that are done stay as they are.

    Raises:
        ChangedJob: the folder holds another job.
        InputError: the `job.json` there cannot be read.
    """
    content = files.read(FILE)
    if content is None:
        return False
    before, digests = _read(content), files.read(DIGESTS) or b""
    if upgrade:
        before = replace(before, digest=job.digest, content=job.content, stages=job.stages)
    changes = list(differences(before, job, digests, checked))
    if changes:
        raise ChangedJob("; ".join(_refusal(before, job, changes)))
    return True


def _refusal(before: BulkJob, now: BulkJob, changes: Sequence[str]) -> Iterator[str]:
    yield "not the job that was begun here; another --out begins a new one"
    yield from changes[:MOST_DIFFERENCES]
    if len(changes) > MOST_DIFFERENCES:
        yield f"and {len(changes) - MOST_DIFFERENCES} more differences"
    if (before.digest, before.stages) != (now.digest, now.stages):
        yield "after an update of acestep-flows, --accept-upgrade goes on: rows that are done stay"
    yield "a new job renders every song anew"


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
        advice = " (a job has one, also in all its parts)" if name in ("layout", "audio", "embed") else ""
        yield from (f"{option}: {line}{advice}" for line in _changes(old[name], new[name]))


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
    if isinstance(value, list) and value and all(map(_is_gate, value)):
        return clip(", ".join(str(Gate(**gate)) for gate in value), 80)
    return "nothing" if value is None else clip(json.dumps(value, ensure_ascii=False, default=str), 80)


def _is_gate(value: Any) -> bool:
    """Whether it is a condition of --require, which is shown as it is typed there."""
    return isinstance(value, Mapping) and value.keys() == {"name", "op", "bound"}
