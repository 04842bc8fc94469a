"""Small pools to test with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages

ENGINE = {"tokens": 4096, "songs": 8, "save_every": 3}
LIGHT = {"cpus": 0.1, "threads": 1}

APART = {
    "sampler": ("sample", "repaint", "edit"),
    "vocode": ("vocode",),
}


def content(root: Path | None = None, processes: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A pool as parsed YAML; by default everything is in one process."""
    together = {"all": {"stages": list(stages()), **LIGHT}}
    checkpoint = {} if root is None else {"checkpoint": str(root)}
    return {"name": "test", "processes": processes or together, "engine": dict(ENGINE), **checkpoint, **more}


def fused(root: Path) -> Pool:
    """Every stage in one process."""
    return Pool.checked(content(root))


def split(root: Path) -> Pool:
    """A song comes into the third process before the sampler and after it; each takes seconds to start."""
    rest = [stage for stage in stages() if not any(stage in names for names in APART.values())]
    processes = {name: {"stages": list(names), **LIGHT} for name, names in {**APART, "rest": rest}.items()}
    return Pool.checked(content(root, processes))
