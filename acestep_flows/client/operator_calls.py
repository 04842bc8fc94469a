"""What operators can ask of a server and do to it. Each function is a method of both clients, without `self`.

They raise `Forbidden` for the key of another caller than an administrator. A server with one key, or none, has one
caller, who may do all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from acestep_flows.client.call import Call, json_call, segment
from acestep_flows.client.library_calls import days
from acestep_flows.client.operator_records import AuditedAction, KeyAccount, QueueServer, QueueState


def queue() -> Call[QueueState]:
    """The queue: whether it is paused, how many runs wait and are computed, and the servers that compute them."""
    return json_call("GET", "/v1/queue", QueueState.read)


def pause_queue(reason: str = "") -> Call[QueueState]:
    """Start no more runs, on any server of the run table. What runs goes on, and runs are accepted and wait.

    Args:
        reason: in your words; callers see it. A queue that is paused already keeps its reason.
    """
    return json_call("POST", "/v1/queue:pause", QueueState.read, {"reason": reason})


def resume_queue() -> Call[QueueState]:
    """Start runs again."""
    return json_call("POST", "/v1/queue:resume", QueueState.read)


def drain_server(server: QueueServer | str, reason: str = "") -> Call[QueueState]:
    """Let a server start and accept no more runs; what it computes goes on. It can be stopped when its `runs` are 0.

    Args:
        server: one of `queue().servers`, or its name.
        reason: in your words; callers see it.

    Raises:
        NotFound: no server of this name works now; `allowed` has the names of those that do.
    """
    return json_call("POST", f"{_server_path(server)}:drain", QueueState.read, {"reason": reason})


def undrain_server(server: QueueServer | str) -> Call[QueueState]:
    """Let a server work again. Raises NotFound as `drain_server` does."""
    return json_call("POST", f"{_server_path(server)}:undrain", QueueState.read)


def audit_page(
    *,
    who: str | None = None,
    action: str | None = None,
    since: date | None = None,
    until: date | None = None,
    limit: int = 50,
    before: int | None = None,
) -> Call[tuple[list[AuditedAction], int | None]]:
    """One page of the audit log, newest first, and the `before` of the next page (None on the last one).

    Args:
        who: name of a key.
        action: an action, such as `run.deleted`, or all of a kind, such as `run`.
        since, until: days (UTC), inclusive.
        limit: most entries on the page, up to 200.
    """
    query = {"who": who, "action": action, "limit": limit, "before": before}
    return json_call("GET", "/v1/audit", _page_of_entries, query=query | days(since, until))


def api_keys(*, since: date | None = None, until: date | None = None) -> Call[list[KeyAccount]]:
    """The keys of the server, by name: the limits of each, and what it has used in these days (UTC, inclusive)."""
    return json_call(
        "GET", "/v1/keys", lambda content: [KeyAccount.read(key) for key in content["keys"]], query=days(since, until)
    )


def _server_path(server: QueueServer | str) -> str:
    return f"/v1/servers/{segment(server.name if isinstance(server, QueueServer) else server, 'server')}"


def _page_of_entries(content: Mapping[str, Any]) -> tuple[list[AuditedAction], int | None]:
    return [AuditedAction.read(entry) for entry in content["entries"]], content.get("next")
