"""Bodies of requests and responses for operators: the queue, the servers, the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

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
    """Why the queue is paused or a server drains, for whoever looks at it later."""

    model_config = with_examples({"reason": "new weights"})

    reason: Text = Field("", max_length=LONGEST_REASON, description="In your own words; callers see it.")


class SwitchedOn(Model):
    """Since when, by whom and why nothing new is started."""

    model_config = with_examples(_SWITCH)

    since: datetime
    who: str = Field(description="Name of the API key, or who used the command line.")
    reason: str


class TableServer(Model):
    """A server of the run table that works now."""

    model_config = with_examples(
        {"name": _SERVER, "slots": 4, "runs": 2, "seen_at": "2026-03-08T12:00:00Z", "drains": None, "this": True}
    )

    name: str = Field(description="Host, process and a random part; a server that is started again has another name.")
    slots: int = Field(description="Runs that it computes at a time.")
    runs: int = Field(description="Runs that it computes now.")
    seen_at: datetime = Field(description="When it last renewed its leases.")
    drains: SwitchedOn | None = Field(None, description="Set while it starts no more runs.")
    this: bool = Field(description="Whether it is the server that answers.")


class Queue(Model):
    """The queue, and the servers that compute its runs."""

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
    queued: int
    running: int
    servers: list[TableServer]


class AuditEntry(Model):
    """One action in the audit log."""

    model_config = with_examples(_ENTRY)

    number: int
    time: datetime
    who: str = Field(description="Name of the API key; empty on a server without keys.")
    action: str
    object: str
    details: dict[str, Any]


class AuditPage(Model):
    """One page of the audit log, newest first."""

    model_config = with_examples({"entries": [_ENTRY], "next": 41})

    entries: list[AuditEntry]
    next: int | None = Field(None, description="The value of 'before' for the next page; null on the last page.")
