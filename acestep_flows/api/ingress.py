"""The old place of `api.server.ingress`, which Serve configs written for 0.1 name. Gone in 0.3."""

from __future__ import annotations

from acestep_flows.api.server.ingress import ingress

__all__ = ["ingress"]
