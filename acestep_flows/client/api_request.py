"""The requests of the HTTP interface, as values that are made without sending anything.

Every request can be sent twice and takes effect once: a run is submitted under its own idempotency key.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from acestep_flows.client.records import Asset, Output


@dataclass(frozen=True)
class ApiRequest:
    """One request: method, path, JSON body and query."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)


def graphs() -> ApiRequest:
    return ApiRequest("GET", "/v1/graphs")


def graph(name: str) -> ApiRequest:
    return ApiRequest("GET", f"/v1/graphs/{_quote(name)}")


def check(content: Mapping[str, Any] | str) -> ApiRequest:
    return ApiRequest("POST", "/v1/graphs:check", {"graph": content})


def plan(name: str, inputs: Mapping[str, Any]) -> ApiRequest:
    """A dry run; `inputs` are encoded."""
    return ApiRequest("POST", f"/v1/graphs/{_quote(name)}/plan", {"inputs": inputs})


def submit(graph: str | Mapping[str, Any], inputs: Mapping[str, Any], options: Mapping[str, Any]) -> ApiRequest:
    """A run; `inputs` are encoded. Options that are None are left out, and a webhook may be its URL."""
    body: dict[str, Any] = {"graph": graph, "inputs": inputs} | _without_none(options)
    if isinstance(body.get("webhook"), str):
        body["webhook"] = {"url": body["webhook"]}  # older servers take this form only
    body.setdefault("idempotency_key", f"client-{secrets.token_hex(16)}")
    return ApiRequest("POST", "/v1/runs", body)


def status(run: str, wait: float = 0.0) -> ApiRequest:
    """A run. `wait` is the seconds that the response may take unless the run ends earlier."""
    return ApiRequest("GET", run_path(run), query={"wait": wait} if wait > 0 else {})


def runs(limit: int, after: str | None, **filters: Any) -> ApiRequest:
    """A page of runs. Filters that are None are left out."""
    query = filters | {"limit": limit, "after": after}
    return ApiRequest("GET", "/v1/runs", query=_without_none(query))


def stats() -> ApiRequest:
    return ApiRequest("GET", "/v1/stats")


def cancel(run: str) -> ApiRequest:
    return ApiRequest("DELETE", run_path(run))


def preview(run: str, node: str) -> ApiRequest:
    return ApiRequest("GET", f"{run_path(run)}/previews/{_quote(node)}")


def run_path(run: str) -> str:
    return f"/v1/runs/{_quote(run)}"


def events_path(run: str) -> str:
    return f"{run_path(run)}/events"


def output_path(run: str, output: str) -> str:
    return f"{run_path(run)}/outputs/{_quote(output)}"


def local_files(inputs: Any) -> Iterator[Path]:
    """The paths among inputs, which have to be uploaded."""
    if isinstance(inputs, Path):
        yield inputs
    elif isinstance(inputs, Mapping):
        for part in inputs.values():
            yield from local_files(part)
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        for part in inputs:
            yield from local_files(part)


def encode_inputs(inputs: Any, uploads: Mapping[Path, Asset]) -> Any:
    """Inputs as JSON: ids in place of assets, outputs and uploaded paths."""
    if isinstance(inputs, Path):
        return uploads[inputs].id
    if isinstance(inputs, Asset):
        return inputs.id
    if isinstance(inputs, Output):
        return inputs.asset
    if isinstance(inputs, Mapping):
        return {name: encode_inputs(part, uploads) for name, part in inputs.items()}
    if isinstance(inputs, Sequence) and not isinstance(inputs, str):
        return [encode_inputs(part, uploads) for part in inputs]
    return inputs


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _quote(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")
