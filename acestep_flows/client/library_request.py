"""Requests about what a caller has: labels, deletion, uploads, usage, the model, links and peaks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from acestep_flows.client.api_request import ApiRequest, output_path, run_path
from acestep_flows.client.records import Asset


def change_labels(run: str, labels: Mapping[str, str | None]) -> ApiRequest:
    return ApiRequest("PATCH", run_path(run), {"labels": dict(labels)})


def forget(run: str) -> ApiRequest:
    return ApiRequest("DELETE", run_path(run), query={"forget": "true"})


def delete_output(run: str, output: str) -> ApiRequest:
    return ApiRequest("DELETE", output_path(run, output))


def delete_asset(asset: Asset | str) -> ApiRequest:
    return ApiRequest("DELETE", asset_path(asset))


def assets(limit: int, after: str | None) -> ApiRequest:
    return ApiRequest("GET", "/v1/assets", query={"limit": limit} | ({"after": after} if after else {}))


def usage(since: date | None, until: date | None) -> ApiRequest:
    query = {"since": since, "until": until}
    return ApiRequest("GET", "/v1/usage", query={name: f"{day}" for name, day in query.items() if day is not None})


def show(what: str) -> ApiRequest:
    """One of `me`, `model`, `adapters`, `controls`, `presets` and `examples`."""
    return ApiRequest("GET", f"/v1/{what}")


def peaks(run: str, output: str, per_second: int) -> ApiRequest:
    return ApiRequest("GET", f"{output_path(run, output)}/peaks", query={"per_second": per_second})


def link(run: str, output: str, seconds: int) -> ApiRequest:
    return ApiRequest("POST", f"{output_path(run, output)}/link", {"seconds": seconds})


def output_in(run: str, output: str, format: str) -> ApiRequest:
    return ApiRequest("GET", output_path(run, output), query={"format": format})


def asset_path(asset: Asset | str) -> str:
    return f"/v1/assets/{asset.id if isinstance(asset, Asset) else asset}"


def moment(time: datetime | str | None) -> str | None:
    """A time as a query has it: ISO 8601."""
    return time.isoformat() if isinstance(time, datetime) else time


def run_filters(
    label: str | list[str] | None,
    created_after: datetime | str | None,
    created_before: datetime | str | None,
    inputs: bool,
) -> dict[str, Any]:
    """Filters of a list of runs, as its query has them; None for those that are not given."""
    return {
        "label": label or None,
        "created_after": moment(created_after),
        "created_before": moment(created_before),
        "inputs": "true" if inputs else None,
    }
