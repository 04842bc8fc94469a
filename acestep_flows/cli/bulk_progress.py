"""Show the progress of a job: a live bar on a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from acestep_flows.bulk.progress import JobProgress, JobWatch, ignore_progress
from acestep_flows.cli.command_log import CommandLog
from acestep_flows.session.ticker import ticking
from acestep_flows.wording.phrases import counted

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

FOR_PEOPLE = CommandLog()
PLAIN_SECONDS = 10.0
STILL_SECONDS = 10.0
"""How often it is said that no row has ended yet."""
TELLING_ROWS = 3
"""Ended rows from which the remaining time is told: the first ones wait for processes that warm up."""
BAR_WIDTH = 32


@contextmanager
def show_job(quiet: bool = False, console: Console | None = None, log: CommandLog = FOR_PEOPLE) -> Iterator[JobWatch]:
    """A watch for a job, on stderr.

    Args:
        quiet: show nothing.
        console: draw there, live, whatever it is.
        log: takes the lines where nothing is drawn.
    """
    if quiet:
        yield ignore_progress
    elif console is not None or (sys.stderr.isatty() and not log.is_json):
        with _Live(console) as live:
            yield live.watch
    else:
        plain = _PlainBulk(log)
        with ticking(STILL_SECONDS, plain.tick):
            yield plain.watch


def progress_line(progress: JobProgress) -> str:
    """The progress as one line: rows, then speed and time. While rows are read, it is not known which are done."""
    count = counted(str(progress.rows), "row")
    if progress.phase == "reading":
        return f"{count}; reading which are left"
    if progress.phase == "starting" and not progress.settled:
        if not progress.done and not progress.failed:
            return f"{count}; starting"
        return f"the job goes on: {_rows_line(progress)}; starting"
    return "; ".join([_rows_line(progress), *rates(progress)])


def _rows_line(progress: JobProgress) -> str:
    """How many rows are done, given up and left."""
    before = f" ({progress.resumed} before)" if progress.resumed else ""
    rows = [f"{progress.done} of {counted(str(progress.rows), 'row')} done{before}"]
    if progress.failed:
        rows.append(f"{progress.failed} given up")
    if progress.left:
        rows.append(f"{progress.left} left")
    if progress.retaken:
        rows.append(f"{progress.retaken} made again")
    return ", ".join(rows)


def rates(progress: JobProgress) -> list[str]:
    """Speed, and after a few rows the remaining time; empty before the first row has ended."""
    if not progress.rendered or not progress.rendering:
        return []
    parts = [f"{progress.rows_per_hour:,.0f} rows an hour, {progress.speed:.2g} s of music a second"]
    left = progress.seconds_left
    if left and progress.rendered >= TELLING_ROWS:
        parts.append(f"about {span(left)} to go")
    return parts


def span(seconds: float) -> str:
    """A duration as a clock shows it: `0:04:05`, `2 d 0:04:05`."""
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


class _PlainBulk:
    """A line when rows are begun, one every few seconds if a row has ended meanwhile, and one at the end. Until a row
    has ended, a line every few seconds says that processes start or that the first rows are made.

    Reading a short manifest, or one of which nothing is left, has no line.
    """

    def __init__(self, log: CommandLog) -> None:
        self._log = log
        self._at, self._phase = time.monotonic(), "reading"
        self._told: tuple[object, ...] = ()
        self._line = ""
        self._begun: float | None = None
        self._waits = False

    def watch(self, progress: JobProgress) -> None:
        now = time.monotonic()
        begins = self._phase == "reading" and progress.phase in ("starting", "rendering")
        self._phase = progress.phase
        self._begun = now if begins else self._begun
        self._waits = progress.phase in ("starting", "rendering") and not progress.settled
        if not (begins or progress.phase == "ended" or now - self._at >= PLAIN_SECONDS):
            return
        # Rates change all the time, so they make no line worth another one.
        told = (progress.done, progress.failed, progress.retaken, progress.phase in ("reading", "starting"))
        line = progress_line(progress)
        if told != self._told and line != self._line:
            self._log.tell(line, **_figures(progress))
            self._at, self._told, self._line = now, told, line

    def tick(self) -> None:
        """Say that no row has ended yet, if nothing was said for a while."""
        now = time.monotonic()
        if self._begun is not None and self._waits and now - self._at >= STILL_SECONDS:
            self._at = now
            doing = "starting processes" if self._phase == "starting" else "making the first rows"
            self._log.tell(f"{doing}, {now - self._begun:.0f} s so far", phase=self._phase)


def _figures(progress: JobProgress) -> dict[str, Any]:
    """The numbers of a progress line, for programs."""
    names = ("phase", "rows", "done", "resumed", "failed", "left", "retaken")
    speed = {"rows_per_hour": round(progress.rows_per_hour, 1), "speed": round(progress.speed, 3)}
    left = progress.seconds_left
    return {name: getattr(progress, name) for name in names} | {
        **speed,
        "seconds_left": None if left is None else round(left, 1),
    }


class _Live:
    """A bar with rates, and below it how busy each stage is."""

    def __init__(self, console: Console | None) -> None:
        from rich.console import Console as Terminal
        from rich.live import Live

        self._live = Live(console=console or Terminal(stderr=True), refresh_per_second=8, transient=True)
        self._last: JobProgress | None = None

    def __enter__(self) -> _Live:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        if self._last is not None:
            self._live.console.print(progress_line(self._last), markup=False, highlight=False, soft_wrap=True)

    def watch(self, progress: JobProgress) -> None:
        self._last = progress
        self._live.update(drawn(progress))


def drawn(progress: JobProgress) -> Group:
    """The progress as two or three coloured lines."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 2))
    ended = progress.done + progress.failed
    bar = ProgressBar(max(progress.rows, 1), ended, width=BAR_WIDTH)
    count = Text(f"{ended} of {counted(str(progress.rows), 'row')}", "bold")
    line.add_row(bar, count, Text("  ".join(rates(progress) or [progress.phase])))
    facts = []
    if progress.resumed:
        facts.append(Text(f"{progress.resumed} done before", "dim"))
    if progress.retaken:
        facts.append(Text(f"{progress.retaken} made again", "yellow"))
    if progress.failed:
        facts.append(Text(f"{progress.failed} given up", "red"))
    busy = Text("  ").join(_share(name, share) for name, share in progress.busy.items())
    return Group(line, *([Text("  ").join(facts)] if facts else []), *([busy] if progress.busy else []))


def _share(name: str, share: float) -> Text:
    """A stage and the share of time in which it works."""
    from rich.text import Text as Words

    blocks = " ▁▂▃▄▅▆▇█"
    level = blocks[round(max(0.0, min(1.0, share)) * (len(blocks) - 1))]
    return Words.assemble((f"{name} ", "dim"), (level, "cyan"), f" {100 * share:.0f} %")
