"""What can be asked about a caller's library and account. Each function is a method of both clients, without `self`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from acestep_flows.client.call import Call, body_bytes, json_call, nothing, segment
from acestep_flows.client.calls import output_path, run_path
from acestep_flows.client.records import Asset, Run


def label(run: Run | str, /, **labels: str | None) -> Call[Run]:
    """Set labels of a run, such as `title="Night bus"`; None removes one. Returns the run."""
    return json_call("PATCH", run_path(run), Run.read, {"labels": labels})


def forget(run: Run | str) -> Call[None]:
    """Delete a run that has ended, with its outputs.

    Raises:
        Conflict: the run has not ended, or an unfinished run reads its outputs.
    """
    return Call("DELETE", run_path(run), nothing, query={"forget": "true"}, is_deletion=True)


def delete_output(run: Run | str, name: str) -> Call[None]:
    """Delete the file of an output. The run still lists it, as expired. Raises Conflict as `forget` does."""
    return Call("DELETE", output_path(run, name), nothing, is_deletion=True)


def delete_asset(asset: Asset | str) -> Call[None]:
    """Delete an upload. Raises Conflict as `forget` does."""
    id = asset.id if isinstance(asset, Asset) else asset
    return Call("DELETE", f"/v1/assets/{segment(id, 'asset')}", nothing, is_deletion=True)


def assets_page(*, limit: int = 50, after: str | None = None) -> Call[tuple[list[Asset], str | None]]:
    """One page of uploads, newest first, and the `after` of the next page (None on the last one)."""
    return json_call("GET", "/v1/assets", _page_of_assets, query={"limit": limit, "after": after})


def usage(*, since: date | None = None, until: date | None = None) -> Call[list[dict[str, Any]]]:
    """What ended runs used: `owner`, `runs`, `music_seconds` and `compute_seconds`; days are inclusive."""
    return json_call("GET", "/v1/usage", lambda content: list(content["usage"]), query=days(since, until))


def me() -> Call[dict[str, Any]]:
    """The caller: `name` of its key, limits, `active_runs` and `usage`."""
    return json_call("GET", "/v1/me", dict)


def model() -> Call[dict[str, Any]]:
    """The model: `name`, `notes`, and its own `sampling` options."""
    return json_call("GET", "/v1/model", dict)


def adapters() -> Call[list[str]]:
    """Names of the adapters on the server."""
    return json_call("GET", "/v1/adapters", lambda content: [entry["name"] for entry in content["adapters"]])


def controls() -> Call[list[str]]:
    """Names of the control branches on the server."""
    return json_call("GET", "/v1/controls", lambda content: [entry["name"] for entry in content["controls"]])


def presets() -> Call[list[dict[str, Any]]]:
    """Tags to begin with: `name`, `tags`, and the `model` that knows these words."""
    return json_call("GET", "/v1/presets", lambda content: list(content["presets"]))


def examples() -> Call[list[dict[str, Any]]]:
    """Songs to begin with: `name`, `graph`, `language` and `inputs`."""
    return json_call("GET", "/v1/examples", lambda content: list(content["examples"]))


def output_in(run: Run | str, name: str, format: str) -> Call[bytes]:
    """An audio output in another format (wav, flac, mp3, ogg), as the bytes of a file."""
    return Call("GET", output_path(run, name), body_bytes, query={"format": format})


def peaks(run: Run | str, name: str, per_second: int = 50) -> Call[dict[str, Any]]:
    """The waveform of an audio output: `peaks` has lowest and highest sample by turns, -127 to 127."""
    return json_call("GET", f"{output_path(run, name)}/peaks", dict, query={"per_second": per_second})


def link(run: Run | str, name: str, seconds: int = 7 * 86_400) -> Call[str]:
    """A link to an output that works without a key for `seconds`."""
    return json_call(
        "POST", f"{output_path(run, name)}/link", lambda content: str(content["url"]), {"seconds": seconds}
    )


def days(since: date | None, until: date | None) -> dict[str, str | None]:
    """The first and the last day of a query."""
    return {name: None if day is None else f"{day}" for name, day in (("since", since), ("until", until))}


def _page_of_assets(content: Mapping[str, Any]) -> tuple[list[Asset], str | None]:
    return [Asset.read(asset) for asset in content["assets"]], content.get("next")
