"""Parses server-sent events from chunks of bytes, across lost connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from acestep_flows.client.records import RunEvent


class Feed:
    """The events of one run, over any number of connections.

    Attributes:
        after: `seq` of the latest event that was read.
        over: whether the last event of the run was read.
    """

    def __init__(self, after: int = 0) -> None:
        self.after, self.over = after, False
        self._rest = b""
        """The start of an incomplete line."""
        self._fields: dict[str, str] = {}

    def headers(self) -> dict[str, str]:
        """Headers of a new connection. Drops the incomplete event that the last connection ended with."""
        self._rest, self._fields = b"", {}
        headers = {"Accept": "text/event-stream"}
        return headers | ({"Last-Event-ID": str(self.after)} if self.after else {})

    def read(self, chunk: bytes) -> Iterator[RunEvent]:
        """The events that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            event = self._read_line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if event is not None and event.seq > self.after:
                self.after, self.over = event.seq, event.last
                yield event

    def _read_line(self, line: str) -> RunEvent | None:
        """Collect the fields of an event. An empty line completes it."""
        if line:
            name, _, text = line.partition(":")
            if name:  # a line that begins with a colon is a comment, the heartbeat
                self._fields[name] = text.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if not fields.get("id", "").isdigit() or "data" not in fields:
            return None
        return _event(int(fields["id"]), fields.get("event", ""), json.loads(fields["data"]))


def _event(seq: int, type: str, body: dict[str, Any]) -> RunEvent:
    progress = body.get("progress")
    return RunEvent(
        seq,
        type or str(body.get("type", "")),
        str(body.get("node") or ""),
        str(body.get("stage") or ""),
        float(body.get("time", 0.0)),
        None if progress is None else float(progress),
        body,
    )
