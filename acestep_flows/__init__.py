"""Distributed workflows for ACE-Step v1: text to music, and every edit of it, as graphs of stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acestep_flows.client import AsyncClient as AsyncClient
    from acestep_flows.client import Client as Client

__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    """The clients of the served door, imported when they are first asked for."""
    if name in ("Client", "AsyncClient"):
        from acestep_flows import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
