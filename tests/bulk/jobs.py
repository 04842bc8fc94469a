"""Jobs for tests: rows of a shipped graph, with or without weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acestep_flows.bulk.check import check
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.prepare import job_of
from acestep_flows.bulk.resume import begin
from acestep_flows.bulk.row_work import JobWork
from acestep_flows.bulk.rows import JobRows
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.library import Library
from acestep_flows.stages.registry import stages
from acestep_flows.weights.choose import Weights


def rows_in(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    *,
    weights: Weights | None = None,
    graph: str | Path = "text2music",
    gates: tuple[Gate, ...] = (),
    **options: Any,
) -> tuple[JobWork, JobRows]:
    """A job that has been begun in `folder / "out"`, and its rows."""
    folder.mkdir(exist_ok=True)
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    library = Library()
    found = JobRows(open_manifest(str(manifest)), checked(library.load(graph), stages(), library.nested))
    looked = check(found)
    checkpoint = weights.open() if weights is not None else None
    job = job_of(found, looked, checkpoint, gates=gates, **options)
    job_folder = JobFolder(str(folder / "out"))
    job_folder.prepare()
    begin(job_folder, job, looked)
    return JobWork(job, job_folder, weights), found
