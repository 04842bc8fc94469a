"""How commands end: every error as one clear line on stderr, and an exit code that says what kind it was."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from acestep_flows.cli.usage_errors import one_line
from acestep_flows.errors import (
    Cancelled,
    ChangedJob,
    CheckpointError,
    DeadlineExceeded,
    DownloadError,
    FlowsError,
    GraphError,
    InputError,
    NotFound,
    StageError,
    StorageError,
    Unreachable,
)
from acestep_flows.optional_packages import missing_package
from acestep_flows.storage import without_login

EXIT_CODES: dict[type[FlowsError], int] = {
    CheckpointError: 3,  # before InputError, of which it is one
    InputError: 2,
    GraphError: 2,
    NotFound: 2,
    ChangedJob: 2,
    StorageError: 4,
    DownloadError: 5,
    Unreachable: 5,
    StageError: 6,
    DeadlineExceeded: 7,
    Cancelled: 130,
}
"""2 is also click's code for a wrong option; 1 is everything else."""
GIVEN_UP = 8
"""Of `bulk`: the job is done, but for rows that were given up."""
INTERRUPTED = 130
TERMINATED = 143
BUG = 70

EXIT_CODES_HELP = (
    "Exit codes: 0 done, 1 failed, 2 wrong input or graph, 3 weights missing or damaged, 4 cannot write, "
    "5 cannot download or reach the server, 6 a stage failed, 7 deadline passed, 8 rows of a job were given up, "
    "130 interrupted, 143 terminated."
)


def exit_code(error: FlowsError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def error_lines(error: FlowsError) -> str:
    """An error as the user reads it: one line, or one for each problem or wrong input. Never an escape sequence."""
    parts = error.problems if isinstance(error, GraphError) else getattr(error, "faults", ())
    lines = [str(part) for part in parts or (error,)]
    return "\n".join("error: " + _printable(line) for line in lines)


def _printable(line: str) -> str:
    return without_login("".join(letter if letter.isprintable() else " " for letter in line))


class Commands(click.Group):
    """A group of commands whose errors end in a line and an exit code; `--traceback` lets them through instead."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise one_line(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.get("traceback"):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise one_line(error) from None
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click says these itself
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:  # noqa: BLE001 the boundary to the user: a bug of ours is one line too
            lines, code = failure_lines(error)
            click.echo(lines, err=True)
            ctx.exit(code)


def failure_lines(error: Exception) -> tuple[str, int]:
    """An error that ends a command, as the user reads it, and the exit code."""
    if isinstance(error, FlowsError):
        return error_lines(error), exit_code(error)
    if isinstance(error, MemoryError):
        return "error: out of memory", 1
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("acestep_flows"):
        return error_lines(missing_package(error.name)), 1
    if isinstance(error, OSError):  # a disk, a folder or a connection of the user's
        return "error: " + _printable(_os_error(error)), 1
    reason = _printable(f"{type(error).__name__}: {error}")
    return f"error: {reason} (a bug; acestep-flows --traceback shows where)", BUG


def _os_error(error: OSError) -> str:
    """An error of the operating system with the files that it names."""
    files = " to ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{files}: {reason}" if files else reason


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first ctrl-C call `stop`, for which the body may wait, and a second one end the process.

    Args:
        stop: asks for an end at the next step boundary; the body then raises Cancelled.

    Raises:
        KeyboardInterrupt: the body was stopped by ctrl-C.
    """
    presses = 0

    def handle(number: int, frame: object) -> None:
        nonlocal presses
        presses += 1
        if presses > 1:
            os._exit(INTERRUPTED)  # a normal exit would wait for threads that work
        click.echo("stopping at the next step; ctrl-C again stops at once", err=True)
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives ctrl-C
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    except Cancelled:
        if presses:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


PLANS = "acestep_flows.session.planned_run"
"""Logs the warnings of plans as information: a program has them in its results, people want to see them."""


class _Notes(logging.Formatter):
    """Records as the commands tell them: `warning: the message`."""

    def format(self, record: logging.LogRecord) -> str:
        level = "note" if record.levelno < logging.WARNING else record.levelname.lower()
        return f"{level}: {without_login(record.getMessage())}"


class _Logged(logging.Handler):
    """Log records as lines on whatever stderr is at the time: a live display may have put itself in its place."""

    file: TextIO | None = None

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), file=self.file, err=True)


@contextmanager
def notes_shown(shown: bool) -> Iterator[None]:
    """Whether notes go to stderr; warnings always do."""
    log = logging.getLogger(PLANS)
    before = log.level
    if not shown:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def warnings_on(file: TextIO) -> Iterator[None]:
    """Our own warnings go to `file` in place of stderr."""
    shown = [handler for handler in logging.getLogger("acestep_flows").handlers if isinstance(handler, _Logged)]
    for handler in shown:
        handler.file = file
    try:
        yield
    finally:
        for handler in shown:
            handler.file = None


@contextmanager
def lines_formatted(formatter: logging.Formatter) -> Iterator[None]:
    """Our own log records are written by `formatter`, those for information too."""
    log = logging.getLogger("acestep_flows")
    shown = [(handler, handler.formatter) for handler in log.handlers if isinstance(handler, _Logged)]
    level = log.level
    log.setLevel(logging.INFO)
    for handler, _ in shown:
        handler.setFormatter(formatter)
    try:
        yield
    finally:
        log.setLevel(level)
        for handler, before in shown:
            handler.setFormatter(before)


def quiet_libraries() -> None:
    """Our own warnings are shown; those that libraries address to programmers are not."""
    log = logging.getLogger("acestep_flows")
    if not any(isinstance(handler, _Logged) for handler in log.handlers):
        shown = _Logged(logging.INFO)
        shown.setFormatter(_Notes())
        log.addHandler(shown)
        logging.getLogger(PLANS).setLevel(logging.INFO)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
