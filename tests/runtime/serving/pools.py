"""Small pools to test with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages

ENGINE = {"tokens": 4096, "songs": 8, "save_every": 3}
LIGHT = {"cpus": 0.1, "threads": 1}

ALONE = ("encode_prompt", "encode_lyrics", "init_noise", "decode_latents", "vocode")
DIFFUSION = ("sample", "repaint", "edit")


def content(root: Path | None = None, processes: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A pool as parsed YAML; by default everything is in one process."""
    together = {"all": {"stages": list(stages()), **LIGHT}}
    checkpoint = {} if root is None else {"checkpoint": str(root)}
    return {"name": "test", "processes": processes or together, "engine": dict(ENGINE), **checkpoint, **more}


def fused(root: Path) -> Pool:
    """Every stage in one process."""
    return Pool.checked(content(root))


def split(root: Path) -> Pool:
    """Every stage of a song in a process of its own, and the others together: each process takes seconds to start."""
    alone = {stage.replace("_", "-"): {"stages": [stage], **LIGHT} for stage in ALONE}
    rest = [stage for stage in stages() if stage not in (*ALONE, *DIFFUSION)]
    more = {"sampler": {"stages": list(DIFFUSION), **LIGHT}, "rest": {"stages": rest, **LIGHT}}
    return Pool.checked(content(root, {**alone, **more}))
