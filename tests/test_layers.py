"""Every folder of the package imports only what stands before it, wherever in its files the import is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import acestep_flows

ROOT = Path(acestep_flows.__file__).parent
LAYERS = ["model", "text", "audio", "sampling", "stages", "graph", "runtime", "api", "bulk", "training"]
APART = {"model", "text", "audio"}
"""These three do not know each other either."""

RAY = ("runtime/serving/", "runtime/bulk/", "api/ingress.py", "training/encode_ray.py", "training/train_ray.py")
"""Where Ray may be imported: it is one of the places that things can run in."""


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_stands_before_it(layer: str) -> None:
    later = set(LAYERS[LAYERS.index(layer) + 1 :]) | (APART - {layer} if layer in APART else set())
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if name.startswith("acestep_flows.") and name.split(".")[1] in later
    ]
    assert wrong == []


def test_ray_is_imported_only_where_things_run() -> None:
    places = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if any(name.partition(".")[0] == "ray" for name in imported(path))
    }
    assert places
    assert [place for place in sorted(places) if not place.startswith(RAY)] == []
