"""Show on the terminal how a run or a download goes: live bars there, plain lines where output is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

import click

from acestep_flows.client.records import RunEvent
from acestep_flows.graph.execution.events import ENDS, Event, EventType

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from acestep_flows.graph.execution.events import Event
    from acestep_flows.weights.download import TransferListener
    from acestep_flows.weights.download import TransferProgress as Transfer

PLAIN_SECONDS = 5.0
"""How often a long step is mentioned in plain lines."""
MOST_LINES = 60
"""Nodes of larger graphs are counted, not listed one by one."""


@contextmanager
def show_run(total: int, quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """A listener for the events of a run of `total` nodes."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _LiveRun(bars, total).hear
    else:
        yield _PlainRun(total).hear


@contextmanager
def show_transfers(quiet: bool = False) -> Iterator[TransferListener]:
    """A listener for downloads."""
    if quiet:
        yield lambda transfer: None
    elif sys.stderr.isatty():
        with _bars(transfers=True) as bars:
            yield _LiveTransfers(bars).hear
    else:
        yield _PlainTransfers().hear


def _bars(transfers: bool = False) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    texts = [TextColumn("{task.description}"), BarColumn(bar_width=30)]
    amounts = [DownloadColumn(), TransferSpeedColumn()] if transfers else [TextColumn("{task.fields[steps]}")]
    return Progress(*texts, *amounts, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def _named(event: Event) -> str:
    return event.node if event.node == event.stage else f"{event.node} ({event.stage})"


def _ending(event: Event) -> str:
    """How a node that is over is listed; empty for events that are told otherwise."""
    if event.type == "finished":
        return f"{_named(event)}: {event.seconds or 0.0:.1f} s"
    if event.type == "cached":
        return f"{_named(event)}: cached"
    return f"{_named(event)}: skipped" if event.type == "skipped" else ""


class _PlainRun:
    """One line per finished node, and now and then the step of a long one."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._told: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        if not event.node:
            return
        if event.type == "started":
            self._told[event.node] = time.monotonic()
        elif event.type == "progress" and time.monotonic() - self._told.get(event.node, 0.0) >= PLAIN_SECONDS:
            self._told[event.node] = time.monotonic()
            click.echo(f"{_named(event)}: step {event.step} of {event.steps}", err=True)
        elif line := _ending(event):
            self._done += 1
            if self._total <= MOST_LINES or self._done == self._total:
                click.echo(f"[{self._done}/{self._total}] {line}", err=True)


class _LiveRun:
    """A bar over all nodes and one for each node at work; what is done moves up into plain lines."""

    def __init__(self, bars: Bars, total: int) -> None:
        self._bars, self._total = bars, total
        self._tasks: dict[str, TaskID] = {}
        self._all = bars.add_task("all", total=total, steps=f"0 of {total} nodes")
        self._done = 0

    def hear(self, event: Event) -> None:
        if not event.node:
            return
        if event.type == "started":
            self._tasks[event.node] = self._bars.add_task(_escaped(_named(event)), total=None, steps="")
        elif event.type == "progress" and event.node in self._tasks:
            steps = f"step {event.step} of {event.steps}"
            self._bars.update(self._tasks[event.node], completed=event.step, total=event.steps, steps=steps)
        elif event.type in ("finished", "cached", "skipped", "failed", "cancelled"):
            if event.node in self._tasks:
                self._bars.remove_task(self._tasks.pop(event.node))
            self._done += 1
            self._bars.update(self._all, completed=self._done, steps=f"{self._done} of {self._total} nodes")
            line = _ending(event)
            if line and self._total <= MOST_LINES:
                self._bars.console.print(line, style="dim", markup=False, highlight=False)


class _PlainTransfers:
    """A line when a file begins and every few seconds while it goes on."""

    def __init__(self) -> None:
        self._at: tuple[str, str] | None = None
        self._told = 0.0

    def hear(self, transfer: Transfer) -> None:
        at, now = (transfer.name, transfer.action), time.monotonic()
        if at == self._at and now - self._told < PLAIN_SECONDS:
            return
        self._at, self._told = at, now
        share = f", {transfer.done / transfer.total:.0%}" if transfer.total else ""
        click.echo(f"{transfer.action} {transfer.name}: {transfer.done / 1e6:.1f} MB{share}", err=True)


class _LiveTransfers:
    """A bar for the file under way."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._at: tuple[str, str] | None = None
        self._task: TaskID | None = None

    def hear(self, transfer: Transfer) -> None:
        at = (transfer.name, transfer.action)
        if at != self._at or self._task is None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._at, self._task = (
                at,
                self._bars.add_task(_escaped(" ".join(reversed(at))), total=transfer.total or None),
            )
        self._bars.update(self._task, completed=transfer.done)


def _escaped(text: str) -> str:
    """Ids hold square brackets (`takes[3]`), which would be taken for markup."""
    from rich.markup import escape

    return escape(text)


_KNOWN: Collection[str] = get_args(EventType)


class RemoteEvents:
    """Passes on what happens to nodes.

    Args:
        hear: the display.
    """

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self._started: set[str] = set()
        self._ended: set[str] = set()

    def hear(self, event: RunEvent) -> None:
        """Pass an event on, if it is news."""
        if not event.node or event.type not in _KNOWN or event.node in self._ended:
            return
        if event.type == "started":
            if event.node in self._started:
                return
            self._started.add(event.node)
        if event.type in ENDS:
            self._ended.add(event.node)
        self._hear(_local(event))


def _local(event: RunEvent) -> Event:
    told = event.content
    type: EventType = event.type  # type: ignore[assignment]  # checked above
    return Event(type, event.node, event.stage, event.time, told.get("step"), told.get("steps"), told.get("seconds"))
