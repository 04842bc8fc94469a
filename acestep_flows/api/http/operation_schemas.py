"""Bodies of requests and responses for operators: the queue, the servers, the audit log, the keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from acestep_flows.api.http.account_schemas import ME, Me
from acestep_flows.api.http.schema_base import Model, Text, with_examples

LONGEST_REASON = 500
_SERVER = "node-3-812-1f9a3c0b"
_SWITCH = {"since": "2026-03-08T12:00:00Z", "who": "ops", "reason": "new weights"}
_ENTRY: dict[str, Any] = {
    "number": 41,
    "time": "2026-03-08T12:00:00Z",
    "who": "alice",
    "action": "run.submitted",
    "object": "run-0661777f2a3b4c5d6e7f809a1b",
    "details": {"graph": "text2music"},
}


class Reason(Model):
    """Why an operator pauses the queue or drains a server."""

    model_config = with_examples({"reason": "new weights"})

    reason: Text = Field("", max_length=LONGEST_REASON, description="In your own words; callers see it.")


class SwitchedOn(Model):
    """A pause or a drain: when it began, who began it, and why."""

    model_config = with_examples(_SWITCH)

    since: datetime = Field(description="When it began (UTC).")
    who: str = Field(description="Name of the API key; empty on a server without keys; or 'command line: USER'.")
    reason: str = Field(description="In the operator's words; may be empty.")


class TableServer(Model):
    """A server that computes runs of the run table. It renewed its leases within the last 30 seconds."""

    model_config = with_examples(
        {"name": _SERVER, "slots": 4, "runs": 2, "seen_at": "2026-03-08T12:00:00Z", "drains": None, "this": True}
    )

    name: str = Field(description="Host, process and a random part; a server that is started again has another name.")
    slots: int = Field(description="Runs that it computes at a time.")
    runs: int = Field(description="Runs that it computes now.")
    seen_at: datetime = Field(description="When it last renewed its leases.")
    drains: SwitchedOn | None = Field(None, description="Set while it starts and accepts no runs.")
    this: bool = Field(description="Whether it is the server that answers.")


class Queue(Model):
    """The queue: whether it is paused, how many runs are in it, and the servers that compute them."""

    model_config = with_examples(
        {
            "paused": _SWITCH,
            "queued": 12,
            "running": 0,
            "servers": [
                {
                    "name": _SERVER,
                    "slots": 4,
                    "runs": 0,
                    "seen_at": "2026-03-08T12:00:00Z",
                    "drains": None,
                    "this": True,
                }
            ],
        }
    )

    paused: SwitchedOn | None = Field(None, description="Set while no server starts runs; they are accepted and wait.")
    queued: int = Field(description="Runs that wait.")
    running: int = Field(description="Runs that are computed.")
    servers: list[TableServer]


class AuditEntry(Model):
    """One action in the audit log."""

    model_config = with_examples(_ENTRY)

    number: int = Field(description="Counts upwards over the log, perhaps with gaps.")
    time: datetime = Field(description="When it happened (UTC).")
    who: str = Field(
        description="Name of the API key; empty on a server without keys; 'server start' for changed keys; or "
        "'command line: USER'."
    )
    action: str = Field(description="What was done, such as run.submitted, file.deleted, key.added, queue.paused.")
    object: str = Field(description="Id of the run or file, or name of the key or server.")
    details: dict[str, Any] = Field(description="Facts about the action by name, such as graph or reason.")


class AuditPage(Model):
    """One page of the audit log, newest first."""

    model_config = with_examples({"entries": [_ENTRY], "next": 41})

    entries: list[AuditEntry]
    next: int | None = Field(None, description="The value of 'before' for the next page; null on the last page.")


class KeyOverview(Me):
    """A key of the server: its limits, and what it uses."""

    model_config = with_examples({**ME, "known": True, "operator": False, "admin": False})

    name: str | None = Field(None, description="Name of the API key; null for what was made without a key.")
    known: bool = Field(description="Whether the server has this key now. A removed key is listed with its use alone.")
    operator: bool = Field(False, description="Whether it sees the numbers of the whole server.")
    admin: bool = Field(False, description="Whether it may operate the server, and sees all numbers.")


class KeyList(Model):
    """The keys of the server, by name."""

    model_config = with_examples({"keys": [{**ME, "known": True, "operator": False, "admin": False}]})

    keys: list[KeyOverview]
