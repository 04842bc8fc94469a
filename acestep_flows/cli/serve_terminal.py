"""The terminal of a server: our own lines reach it; what Ray and other libraries print goes to a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

from acestep_flows.cli.terminal import warnings_on


class ServeTerminal:
    """Writes lines for people, also while `divert` sends everything else to a file."""

    def __init__(self) -> None:
        self._out: TextIO | None = None
        self._err: TextIO | None = None

    def ready(self, line: str) -> None:
        """Write the line that scripts wait for, on stdout."""
        click.echo(line, file=self._out)

    def tell(self, line: str) -> None:
        """Write a line on stderr."""
        click.echo(line, file=self._err, err=True)

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


@contextlib.contextmanager
def _redirected(number: int, to: int) -> Iterator[TextIO]:
    """A descriptor redirected; gives a file that writes to where it went before."""
    with os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8", errors="backslashreplace") as before:
        os.dup2(to, number)
        try:
            yield before
        finally:
            os.dup2(before.fileno(), number)
