"""The terminal of a server: our own lines reach it; what Ray and other libraries print goes to a file.

With a log format, log records have time and level, and tracebacks go to the file. As JSON, every line is an object.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

from acestep_flows.cli.command_log import failures_told, level_and_message
from acestep_flows.cli.terminal import lines_formatted, warnings_on
from acestep_flows.wording.log_lines import JsonLines, LogFormat, TextLines, json_line, traceback_of

NAME = "acestep_flows.serve"
"""The logger of the lines about start and end, where lines are JSON."""


class ServeTerminal:
    """Writes lines for people, also while `divert` sends everything else to a file.

    Args:
        form: format of log records; None is that of other commands.
    """

    def __init__(self, form: LogFormat | None = None) -> None:
        self._out: TextIO | None = None
        self._err: TextIO | None = None
        self._form = form

    @contextlib.contextmanager
    def formatted(self) -> Iterator[None]:
        """Write log records in the format. As JSON, an error that ends the command is a line too.

        Raises:
            click.exceptions.Exit: such an error was written.
        """
        if self._form is None:
            yield
            return
        if self._form == "text":
            with lines_formatted(_TracebackToFile(TextLines())):
                yield
            return
        with lines_formatted(JsonLines()), failures_told(self.tell):
            yield

    def ready(self, line: str, url: str) -> None:
        """Write the line that scripts wait for, on stdout. As JSON it has the address in a field of its own."""
        self._write(line, err=False, url=url)

    def tell(self, line: str) -> None:
        """Write a line on stderr."""
        self._write(line, err=True)

    def _write(self, line: str, err: bool, **figures: str) -> None:
        if self._form == "json":
            level, message = level_and_message(line)
            line = json_line(NAME, level, message, **figures)
        click.echo(line, file=self._err if err else self._out, err=err)

    @contextlib.contextmanager
    def divert(self, log: Path) -> Iterator[None]:
        """Send to a file what this process and those it starts write to stdout and stderr, beside our own lines.

        The file of the start before is kept as `NAME.1`. The descriptors themselves are redirected, because libraries
        in C++ write to them too.
        """
        if log.exists():
            log.replace(log.with_name(f"{log.name}.1"))
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(log.open("ab", buffering=0))
            self._out, self._err = (stack.enter_context(_redirected(number, file.fileno())) for number in (1, 2))
            stack.enter_context(warnings_on(self._err))
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                self._out = self._err = None


class _TracebackToFile(logging.Formatter):
    """A record as another formatter has it; its traceback goes to stderr, which is the log file while a server runs."""

    def __init__(self, line: logging.Formatter) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        line = self._line.format(record)
        if traceback := traceback_of(record):
            sys.stderr.write(f"{line}\n{traceback}\n")
            sys.stderr.flush()
        return line


@contextlib.contextmanager
def _redirected(number: int, to: int) -> Iterator[TextIO]:
    """A descriptor redirected; gives a file that writes to where it went before."""
    with os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8", errors="backslashreplace") as before:
        os.dup2(to, number)
        try:
            yield before
        finally:
            os.dup2(before.fileno(), number)
