"""Distributed workflows for ACE-Step v1: text to music, and every edit of it, as graphs of stages.

    from acestep_flows import Session

    with Session() as session:
        song = session.run("text2music", tags="lo-fi, piano", duration=10, seed=7)
    song.save("songs")

`Session` runs graphs in this process; `Client` and `AsyncClient` ask a server. `Audio` and `Latents` are the values
that graphs take and give, `FlowsError` is the base of every error. All of them are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acestep_flows.client import AsyncClient as AsyncClient
    from acestep_flows.client import Client as Client
    from acestep_flows.errors import FlowsError as FlowsError
    from acestep_flows.session import Session as Session
    from acestep_flows.values import Audio as Audio
    from acestep_flows.values import Latents as Latents

__version__ = "0.2.0.dev0"

__all__ = ["Session", "Client", "AsyncClient", "Audio", "Latents", "FlowsError"]

_MODULE_OF = {
    "Session": "acestep_flows.session",
    "Client": "acestep_flows.client",
    "AsyncClient": "acestep_flows.client",
    "Audio": "acestep_flows.values",
    "Latents": "acestep_flows.values",
    "FlowsError": "acestep_flows.errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package stays light."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
