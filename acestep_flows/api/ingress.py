"""The former place of `api.server.ingress`, which Serve configurations for 0.1 name. It will be removed in 0.3."""

from __future__ import annotations

from acestep_flows.api.server.ingress import ingress

__all__ = ["ingress"]
