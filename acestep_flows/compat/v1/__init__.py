"""Version 1 of ACE-Step: the REST servers that came with it (`serve --speak v1`), and its Python call.

    from acestep_flows.compat.v1 import ACEStepPipeline

    pipeline = ACEStepPipeline()
    path, parameters = pipeline(prompt="lofi, piano", audio_duration=20, save_path="song.wav")

Programs that import `acestep` run unchanged with `python -m acestep_flows.compat.v1 SCRIPT ARGS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acestep_flows.compat.v1.pipeline import ACEStepPipeline as ACEStepPipeline
    from acestep_flows.compat.v1.sampler import DataSampler as DataSampler

__all__ = ["ACEStepPipeline", "DataSampler"]

_MODULE_OF = {"ACEStepPipeline": "pipeline", "DataSampler": "sampler"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package stays light."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
