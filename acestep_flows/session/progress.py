"""Show how a run goes: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from acestep_flows.errors import Cancelled, InputError
from acestep_flows.graph.execution.events import ENDS, Event
from acestep_flows.session.exit import is_exiting
from acestep_flows.session.options import PLAIN_FUNCTION
from acestep_flows.session.stage_words import NodeWords
from acestep_flows.session.ticker import ticking

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, TaskID

PLAIN_SECONDS = 5.0
"""How often a long step is mentioned in plain lines."""
STILL_SECONDS = 10.0
"""How often it is said of a node without steps that it still works."""
MOST_LINES = 60
"""The nodes of larger graphs are counted, not listed one by one."""


class EventListener:
    """Passes events to a callback. If the callback raises, the run stops, and `error` is what it raised.

    The run also stops when the interpreter exits.
    """

    def __init__(self, callback: Callable[[Event], None], stop: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self._callback, self._stop = callback, stop

    def hear(self, event: Event) -> None:
        """Pass an event on, until the callback raises."""
        if self.error is not None:
            return
        if is_exiting():
            self._stop()
            return
        try:
            answer: object = self._callback(event)
            if inspect.iscoroutine(answer):
                answer.close()
                raise InputError("it returned a coroutine", where="progress", allowed=PLAIN_FUNCTION)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for whoever waits for the run
            # An exit would end the thread of all runs, so it ends this one.
            stopped = Cancelled(f"the progress callback raised {type(error).__name__}")
            self.error = error if isinstance(error, Exception) else stopped
            self._stop()


@contextmanager
def show_run(stages: Sequence[str], quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """A listener for the events of a run, which shows them on stderr.

    Args:
        stages: the stage of every node of the run.
        quiet: show nothing.
    """
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        from rich.progress import TextColumn

        with live_bars(TextColumn("{task.fields[steps]}")) as bars:
            yield _LiveRun(bars, stages).hear
    else:
        plain = _PlainRun(stages)
        with ticking(STILL_SECONDS, plain.tick):
            yield plain.hear


@contextmanager
def show_writing(quiet: bool = False) -> Iterator[None]:
    """Say now and then that the files of a run are still being written, and the picture drawn."""
    if quiet:
        yield
        return
    begun = time.monotonic()
    with ticking(
        STILL_SECONDS, lambda: click.echo(f"writing files, {time.monotonic() - begun:.0f} s so far", err=True)
    ):
        yield


def live_bars(*amounts: ProgressColumn) -> Bars:
    """Live bars on stderr, with columns for what is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(bar_width=30), *amounts, TimeRemainingColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _ending(words: str, event: Event) -> str:
    """The line of a node that is over; empty for other events."""
    if event.type == "finished":
        return f"{words}: {event.seconds or 0.0:.1f} s"
    if event.type == "cached":
        return f"{words}: cached"
    return f"{words}: skipped" if event.type == "skipped" else ""


class _PlainRun:
    """One line for each finished node, and every few seconds the step of a long one, or for how long it has worked."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._total, self._done = len(stages), 0
        self._words = NodeWords(stages)
        self._begun: dict[str, tuple[float, str]] = {}
        self._last_line: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        if not event.node:
            return
        words = self._words.of(event.node, event.stage)
        if event.type in ENDS:
            self._begun.pop(event.node, None)
        if event.type == "started":
            now = time.monotonic()
            self._last_line[event.node], self._begun[event.node] = now, (now, words)
        elif event.type == "progress" and time.monotonic() - self._last_line.get(event.node, 0.0) >= PLAIN_SECONDS:
            self._last_line[event.node] = time.monotonic()
            click.echo(f"{words}, step {event.step} of {event.steps}", err=True)
        elif line := _ending(words, event):
            self._done += 1
            if self._total <= MOST_LINES or self._done == self._total:
                click.echo(f"[{self._done}/{self._total}] {line}", err=True)

    def tick(self) -> None:
        """Say what nodes have worked on for a while without a step to tell of."""
        now = time.monotonic()
        for node, (begun, words) in list(self._begun.items()):
            if now - self._last_line[node] >= STILL_SECONDS:
                self._last_line[node] = now
                click.echo(f"{words}, {now - begun:.0f} s so far", err=True)


class _LiveRun:
    """A bar over all nodes and one for each node that runs; finished nodes become plain lines above."""

    def __init__(self, bars: Bars, stages: Sequence[str]) -> None:
        self._bars, self._total = bars, len(stages)
        self._words = NodeWords(stages)
        self._tasks: dict[str, TaskID] = {}
        self._all = bars.add_task("all", total=self._total, steps=self._share_done(0))
        self._done = 0

    def hear(self, event: Event) -> None:
        if not event.node:
            return
        words = self._words.of(event.node, event.stage)
        if event.type == "started":
            self._tasks[event.node] = self._bars.add_task(escaped(words), total=None, steps="")
        elif event.type == "progress" and event.node in self._tasks:
            steps = f"step {event.step} of {event.steps}"
            self._bars.update(self._tasks[event.node], completed=event.step, total=event.steps, steps=steps)
        elif event.type in ENDS:
            if event.node in self._tasks:
                self._bars.remove_task(self._tasks.pop(event.node))
            self._done += 1
            self._bars.update(self._all, completed=self._done, steps=self._share_done(self._done))
            line = _ending(words, event)
            if line and self._total <= MOST_LINES:
                self._bars.console.print(line, style="dim", markup=False, highlight=False)

    def _share_done(self, done: int) -> str:
        return f"{done} of {self._total} stages"


def escaped(text: str) -> str:
    """`text` with square brackets (ids have them: `takes[3]`) kept from being markup."""
    from rich.markup import escape

    return escape(text)
