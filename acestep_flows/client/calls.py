"""What can be asked about graphs and runs. Each function is a method of both clients, without `self`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from acestep_flows.client.call import INPUTS, Call, body_bytes, json_call, segment, without_none
from acestep_flows.client.records import Run
from acestep_flows.errors import InputError

OPTIONS = ("priority", "deadline", "cache", "format", "preview_every", "labels", "webhook", "idempotency_key")
"""What `submit` takes beside graph and inputs."""

LARGEST_PAGE = 200
"""Most entries of a page of a list."""


def graphs() -> Call[list[dict[str, Any]]]:
    """The graphs that can be run by name: `name` and `summary` of each."""
    return json_call("GET", "/v1/graphs", lambda content: list(content["graphs"]))


def graph(name: str) -> Call[dict[str, Any]]:
    """A graph: its `inputs` (a JSON Schema), `outputs`, `nodes` and `description`."""
    return json_call("GET", f"/v1/graphs/{segment(name, 'name')}", dict)


def check(content: Mapping[str, Any] | str | Path) -> Call[dict[str, Any]]:
    """Check a graph of your own, as JSON or YAML text, or the file of one. Returns `ok` and `problems`.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(content, Path):
        try:
            content = content.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"not readable: {error}", where=str(content), allowed="the file of a graph") from None
    return json_call("POST", "/v1/graphs:check", dict, {"graph": content})


def plan(graph: str, inputs: Mapping[str, Any] | None = None) -> Call[dict[str, Any]]:
    """The forecast for a run: its nodes, what is cached, and the expected seconds. Inputs as for `submit`."""
    return json_call("POST", f"/v1/graphs/{segment(graph, 'graph')}/plan", dict, {INPUTS: inputs or {}})


def submit(graph: str | Mapping[str, Any], inputs: Mapping[str, Any] | None = None, **options: Any) -> Call[Run]:
    """Submit a run. When this returns, the run is on the server's disk.

    Args:
        graph: the name of a graph; or a graph of your own as a map (its JSON), where the server allows it. The command
            `acestep-flows submit` takes its file.
        inputs: inputs by name, as in the graph's schema. For audio or latents give an `Asset`, an `Output` of a run,
            the id or the URL of an asset, or a `Path`, which is uploaded.
        options: `priority`, `deadline` (seconds, with the time in the queue), `cache` (use, refresh, off), `format`
            (flac, wav, mp3, ogg), `preview_every` (steps), `labels` (texts by name), `webhook` (a URL),
            `idempotency_key`. Those that are None are left out.

    Raises:
        TypeError: an option does not exist. Inputs of the graph are not options.
        InputError: the graph is neither a text nor a map.
    """
    _refuse_options(options)
    if not isinstance(graph, (str, Mapping)):
        allowed = "the name of a graph, or a map: its JSON; `acestep-flows submit FILE` takes a file"  # type: ignore[unreachable]
        raise InputError(f"a value of type {type(graph).__name__}", where="graph", allowed=allowed)
    body: dict[str, Any] = {"graph": graph, INPUTS: inputs or {}} | without_none(options)
    given = {}
    if isinstance(body.get("webhook"), str):
        body["webhook"] = {"url": body["webhook"]}  # older servers take this form only
        given["webhook.url"] = "webhook"
    body.setdefault("idempotency_key", f"client-{secrets.token_hex(16)}")
    return replace(json_call("POST", "/v1/runs", Run.read, body), given=given)


def _refuse_options(options: Mapping[str, Any]) -> None:
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        example = ", ".join(f"{name!r}: ..." for name in unknown)
        raise TypeError(
            f"submit has no option {', '.join(map(repr, unknown))}; inputs of the graph are given as "
            f"inputs={{{example}}} (options: {', '.join(OPTIONS)})"
        )


def status(run: Run | str) -> Call[Run]:
    """A run as it is now."""
    return json_call("GET", run_path(run), Run.read)


def held_status(run: Run | str, wait: float) -> Call[Run]:
    """A run. `wait` is the seconds that the response may take unless the run ends earlier."""
    return json_call("GET", run_path(run), Run.read, query={"wait": wait} if wait > 0 else {})


def runs_page(
    *,
    state: str | None = None,
    graph: str | None = None,
    label: str | list[str] | None = None,
    created_after: datetime | str | None = None,
    created_before: datetime | str | None = None,
    inputs: bool = False,
    limit: int = 50,
    after: str | None = None,
) -> Call[tuple[list[Run], str | None]]:
    """One page of runs, newest first, and the `after` of the next page (None on the last one). `runs` turns the pages.

    Args:
        label: `NAME` or `NAME:TEXT`; several must all match.
        created_after: accepted at this time or later; without an offset it is UTC.
        created_before: accepted before this time.
        inputs: whether the runs have their inputs; otherwise those are None.
        limit: most runs on the page, up to 200.
    """
    query = {
        "state": state,
        "graph": graph,
        "label": label,
        "created_after": _moment(created_after),
        "created_before": _moment(created_before),
        "inputs": "true" if inputs else None,
        "limit": limit,
        "after": after,
    }
    return json_call("GET", "/v1/runs", _page_of_runs, query=query)


def cancel(run: Run | str) -> Call[Run]:
    """Cancel a run. A running one stops at its next step."""
    return json_call("DELETE", run_path(run), Run.read)


def preview(run: Run | str, node: str) -> Call[bytes]:
    """The latest preview of a node, a WAV file: how the song would sound if it ended now.

    Only runs that were submitted with `preview_every` have previews. An event `preview` announces each one.

    Raises:
        NotFound: there is no preview yet, or it was removed.
    """
    return Call("GET", f"{run_path(run)}/previews/{segment(node, 'node')}", body_bytes)


def stats() -> Call[dict[str, Any]]:
    """Statistics of the server: runs by state, open streams, and every replica of its processes."""
    return json_call("GET", "/v1/stats", dict)


def run_id(run: object) -> str:
    """The id of a run.

    Raises:
        InputError: it is neither a run nor a text, or empty.
    """
    if isinstance(run, Run):
        return run.id
    if isinstance(run, str) and run:
        return run
    what = "empty" if run == "" else f"a value of type {type(run).__name__}"
    raise InputError(what, where="run", allowed="a Run, or the id of one")


def run_path(run: Run | str) -> str:
    """The path of a run."""
    return f"/v1/runs/{segment(run_id(run), 'run')}"


def events_path(run: Run | str) -> str:
    """The path of a run's events."""
    return f"{run_path(run)}/events"


def output_path(run: Run | str, output: str) -> str:
    """The path of an output's file."""
    return f"{run_path(run)}/outputs/{segment(output, 'name')}"


def _page_of_runs(content: Mapping[str, Any]) -> tuple[list[Run], str | None]:
    return [Run.read(run) for run in content["runs"]], content.get("next")


def _moment(time: datetime | str | None) -> str | None:
    """A time as a query has it: ISO 8601."""
    return time.isoformat() if isinstance(time, datetime) else time
