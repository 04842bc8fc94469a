"""Manifests for tests, and the rows that come of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.rows import JobRows
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import Library
from acestep_flows.stages.registry import stages


def scope(name: str = "text2music") -> Scope:
    """A shipped graph, checked."""
    library = Library(working=None)
    return checked(library.load(name), stages(), library.nested)


def written(text: str) -> Scope:
    """A graph from its text, checked."""
    library = Library(working=None)
    return checked(parse(text, "test"), stages(), library.nested)


def jsonl(folder: Path, rows: Sequence[Any], name: str = "manifest.jsonl") -> str:
    """A manifest with these rows; text stands for itself."""
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def rows_of(folder: Path, rows: Sequence[Any], graph: str = "text2music", **options: Any) -> JobRows:
    """The rows of a job over such a manifest."""
    return JobRows(open_manifest(jsonl(folder, rows)), scope(graph), **options)
