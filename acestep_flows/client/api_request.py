"""What may be asked of a server: one value for each request, made without sending anything.

Every call can be made twice and does its work once: a run is submitted under a key of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from acestep_flows.client.records import Asset, Output


@dataclass(frozen=True)
class ApiRequest:
    """One request."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)


def graphs() -> ApiRequest:
    return ApiRequest("GET", "/v1/graphs")


def graph(name: str) -> ApiRequest:
    return ApiRequest("GET", f"/v1/graphs/{_part(name)}")


def check(content: Mapping[str, Any] | str) -> ApiRequest:
    return ApiRequest("POST", "/v1/graphs:check", {"graph": content})


def plan(name: str, inputs: Mapping[str, Any]) -> ApiRequest:
    return ApiRequest("POST", f"/v1/graphs/{_part(name)}/plan", {"inputs": sent(inputs)})


def submit(graph: str | Mapping[str, Any], inputs: Mapping[str, Any], options: Mapping[str, Any]) -> ApiRequest:
    body: dict[str, Any] = {"graph": graph, "inputs": sent(inputs)}
    body |= {name: given for name, given in options.items() if given is not None}
    body.setdefault("idempotency_key", f"client-{secrets.token_hex(16)}")
    return ApiRequest("POST", "/v1/runs", body)


def status(run: str, wait: float = 0.0) -> ApiRequest:
    """`wait`: seconds that the answer may take if the run is not over before."""
    return ApiRequest("GET", run_path(run), query={"wait": wait} if wait > 0 else {})


def runs(state: str | None, graph: str | None, limit: int, after: str | None) -> ApiRequest:
    query = {"state": state, "graph": graph, "limit": limit, "after": after}
    return ApiRequest("GET", "/v1/runs", query={name: given for name, given in query.items() if given is not None})


def stats() -> ApiRequest:
    return ApiRequest("GET", "/v1/stats")


def cancel(run: str) -> ApiRequest:
    return ApiRequest("DELETE", run_path(run))


def run_path(run: str) -> str:
    return f"/v1/runs/{_part(run)}"


def events_path(run: str) -> str:
    return f"{run_path(run)}/events"


def output_path(run: str, output: str) -> str:
    return f"{run_path(run)}/outputs/{_part(output)}"


def preview(run: str, node: str) -> ApiRequest:
    return ApiRequest("GET", f"{run_path(run)}/previews/{_part(node)}")


def sent(content: Any) -> Any:
    """Inputs as they are sent: assets and outputs by their ids."""
    if isinstance(content, Asset):
        return content.id
    if isinstance(content, Output):
        return content.asset
    if isinstance(content, Mapping):
        return {name: sent(part) for name, part in content.items()}
    if isinstance(content, (list, tuple)):
        return [sent(part) for part in content]
    return content


def _part(text: str) -> str:
    """One part of a path, whatever is in it."""
    return quote(text, safe="")
