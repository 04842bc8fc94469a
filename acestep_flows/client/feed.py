"""Parses server-sent events from chunks of bytes, across lost connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from acestep_flows.client.records import NumberedRunEvent, RunEvent


class SentEvents:
    """Server-sent events from chunks of bytes."""

    def __init__(self) -> None:
        self._rest = b""
        """The start of an incomplete line."""
        self._fields: dict[str, str] = {}

    def restart(self) -> None:
        """Drop the incomplete event that a lost connection ended with."""
        self._rest, self._fields = b"", {}

    def read(self, chunk: bytes) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Id, type and data of the events that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            event = self._read_line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _read_line(self, line: str) -> tuple[int, str, dict[str, Any]] | None:
        """Collect the fields of an event. An empty line completes it."""
        if line:
            name, _, text = line.partition(":")
            if name:  # a line that begins with a colon is a comment, the heartbeat
                self._fields[name] = text.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if not fields.get("id", "").isdigit() or "data" not in fields:
            return None
        return int(fields["id"]), fields.get("event", ""), json.loads(fields["data"])


E_co = TypeVar("E_co", covariant=True)


class StreamFeed(Protocol[E_co]):
    """The events of a stream, over any number of connections.

    Attributes:
        over: whether the last event was read.
    """

    over: bool

    def headers(self) -> dict[str, str]:
        """Headers of a new connection. Drops the incomplete event that the last connection ended with."""

    def query(self) -> dict[str, str]:
        """The query of a new connection."""

    def read(self, chunk: bytes) -> Iterator[E_co]:
        """The events that `chunk` completes."""


class Feed:
    """The events of one run, over any number of connections.

    Attributes:
        after: `seq` of the latest event that was read.
        over: whether the last event of the run was read.
    """

    def __init__(self, after: int = 0) -> None:
        self.after, self.over = after, False
        self._sent = SentEvents()

    def headers(self) -> dict[str, str]:
        """Headers of a new connection. Drops the incomplete event that the last connection ended with."""
        self._sent.restart()
        headers = {"Accept": "text/event-stream"}
        return headers | ({"Last-Event-ID": str(self.after)} if self.after else {})

    def query(self) -> dict[str, str]:
        """The query of a new connection: none, its headers say where it begins."""
        return {}

    def read(self, chunk: bytes) -> Iterator[RunEvent]:
        """The events that `chunk` completes."""
        for seq, type, body in self._sent.read(chunk):
            event = _event(seq, type, body)
            if event.seq > self.after:
                self.after, self.over = event.seq, event.last
                yield event


class NumberedFeed:
    """The events of all runs of a caller, over any number of connections.

    Args:
        after: number of the latest event that was read; None begins with those to come.

    Attributes:
        over: never: the stream has no last event.
    """

    def __init__(self, after: int | None = None) -> None:
        self.over = False
        self._after, self._read_any = after, False
        self._sent = SentEvents()

    def headers(self) -> dict[str, str]:
        """Headers of a new connection. Drops the incomplete event that the last connection ended with."""
        self._sent.restart()
        return {"Accept": "text/event-stream"}

    def query(self) -> dict[str, str]:
        """The query of a new connection."""
        return {} if self._after is None else {"after": str(self._after)}

    def read(self, chunk: bytes) -> Iterator[NumberedRunEvent]:
        """The events that `chunk` completes, and one `ready` of all connections."""
        for number, type, body in self._sent.read(chunk):
            if type == "ready":
                self._after = number if self._after is None else self._after
                if self._read_any:
                    continue
            elif self._after is not None and number <= self._after:
                continue
            self._after, self._read_any = max(number, self._after or 0), True
            yield NumberedRunEvent(number, str(body.get("run", "")), _event(int(body.get("seq", 0)), type, body))


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
