"""The old place of `runtime.serving.deployment`, which Serve configs written for 0.1 name. Gone in 0.3."""

from __future__ import annotations

from acestep_flows.runtime.serving.deployment import build_app

__all__ = ["build_app"]
