"""Show on the terminal how a download, a run on a server or a check of this machine goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

import click

from acestep_flows.client.records import RunEvent
from acestep_flows.graph.execution.events import ENDS, Event, EventType
from acestep_flows.session.progress import PLAIN_SECONDS, escaped, live_bars, show_run

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from acestep_flows.weights.download import TransferListener
    from acestep_flows.weights.download import TransferProgress as Transfer

__all__ = ["RemoteEvents", "show_checks", "show_run", "show_transfers"]

CLEAR_LINE = "\r\x1b[2K"


@contextmanager
def show_checks() -> Iterator[Callable[[str], None]]:
    """A function that says what is being checked; "" takes that back.

    On a terminal this is one line that replaces itself. Elsewhere one line at the beginning must do.
    """
    if not sys.stderr.isatty():
        click.echo("checking this machine, which takes up to a minute", err=True)
        yield lambda name: None
        return

    def show(name: str) -> None:
        click.echo(CLEAR_LINE + (f"checking {name} ..." if name else ""), nl=False, err=True)

    try:
        yield show
    finally:
        show("")


@contextmanager
def show_transfers(quiet: bool = False) -> Iterator[TransferListener]:
    """A listener for downloads."""
    if quiet:
        yield lambda transfer: None
    elif sys.stderr.isatty():
        from rich.progress import DownloadColumn, TransferSpeedColumn

        with live_bars(DownloadColumn(), TransferSpeedColumn()) as bars:
            yield _LiveTransfers(bars).show
    else:
        yield _PlainTransfers().show


class _PlainTransfers:
    """A line when a file begins, every few seconds, and when it is complete."""

    def __init__(self) -> None:
        self._at: tuple[str, str] | None = None
        self._last_line = 0.0
        self._complete = False

    def show(self, transfer: Transfer) -> None:
        at, now = (transfer.name, transfer.action), time.monotonic()
        completes = at == self._at and not self._complete and 0 < transfer.total <= transfer.done
        if at == self._at and now - self._last_line < PLAIN_SECONDS and not completes:
            return
        self._at, self._last_line = at, now
        self._complete = 0 < transfer.total <= transfer.done
        share = f", {transfer.done / transfer.total:.0%}" if transfer.total else ""
        click.echo(f"{transfer.action} {transfer.name}: {transfer.done / 1e6:.1f} MB{share}", err=True)


class _LiveTransfers:
    """A bar for the current file."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._at: tuple[str, str] | None = None
        self._task: TaskID | None = None

    def show(self, transfer: Transfer) -> None:
        at = (transfer.name, transfer.action)
        if at != self._at or self._task is None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._at, self._task = (
                at,
                self._bars.add_task(escaped(" ".join(reversed(at))), total=transfer.total or None),
            )
        self._bars.update(self._task, completed=transfer.done)


_KNOWN: Collection[str] = get_args(EventType)


class RemoteEvents:
    """Passes events of a server's nodes to a display, each start and end once.

    Args:
        display: shows an event, as `show_run` gives it.
    """

    def __init__(self, display: Callable[[Event], None]) -> None:
        self._display = display
        self._started: set[str] = set()
        self._ended: set[str] = set()

    def hear(self, event: RunEvent) -> None:
        """Pass an event on, unless the display has it already."""
        if not event.node or event.type not in _KNOWN or event.node in self._ended:
            return
        if event.type == "started":
            if event.node in self._started:
                return
            self._started.add(event.node)
        if event.type in ENDS:
            self._ended.add(event.node)
        self._display(_local(event))


def _local(event: RunEvent) -> Event:
    content = event.content
    type: EventType = event.type  # type: ignore[assignment]  # checked above
    step, steps, seconds = (content.get(name) for name in ("step", "steps", "seconds"))
    return Event(type, event.node, event.stage, event.time, step, steps, seconds)
