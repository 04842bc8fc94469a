"""What a long command writes to stderr: lines for people, or with `--log-format json` a JSON object on every line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from acestep_flows.cli.terminal import INTERRUPTED, failure_lines, lines_formatted
from acestep_flows.cli.usage_errors import one_line
from acestep_flows.wording.log_lines import FORMATS, JsonLines, LogFormat, json_line

log_format_option = click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What stderr gets: text for people, or every line a JSON object with time and level.",
)

_PREFIXES = {"note: ": logging.INFO, "warning: ": logging.WARNING, "error: ": logging.ERROR}


class CommandLog:
    """The lines of one command on stderr.

    Args:
        command: its name. The logger in its JSON is `acestep_flows.COMMAND`.
        form: text writes lines as they are, json makes objects of them.
    """

    def __init__(self, command: str = "", form: LogFormat = "text") -> None:
        self._logger, self._form = f"acestep_flows.{command}", form

    @property
    def is_json(self) -> bool:
        """Whether each line is a JSON object. Progress bars are not drawn then."""
        return self._form == "json"

    def tell(self, line: str, level: int = logging.INFO, **figures: Any) -> None:
        """Write a line.

        Args:
            level: of `logging`. A line that begins with `note: `, `warning: ` or `error: ` has that level.
            figures: numbers that the line tells, as more fields of the JSON.
        """
        if self.is_json:
            level, message = level_and_message(line, level)
            line = json_line(self._logger, level, message.strip(), **figures)
        click.echo(line, err=True)

    def warn(self, line: str) -> None:
        """Write a line that is a warning, whatever it begins with."""
        self.tell(line, logging.WARNING)

    @contextmanager
    def formatted(self) -> Iterator[None]:
        """Also write our log records, and an error that ends the command, in this form.

        Raises:
            click.exceptions.Exit: such an error was written as JSON.
        """
        if not self.is_json:
            yield
            return
        with lines_formatted(JsonLines()), failures_told(self.tell):
            try:
                yield
            except KeyboardInterrupt:
                self.warn("interrupted")
                raise click.exceptions.Exit(INTERRUPTED) from None


def level_and_message(line: str, level: int = logging.INFO) -> tuple[int, str]:
    """The level of a line, by what it begins with or else `level`, and the line without that beginning."""
    for prefix, meant in _PREFIXES.items():
        if line.startswith(prefix):
            return meant, line.removeprefix(prefix)
    return level, line


@contextmanager
def failures_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` write the lines of an error that ends a command, unless its traceback was asked for.

    Raises:
        click.exceptions.Exit: an error was told; it has the exit code.
    """
    try:
        yield
    except (click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except click.ClickException as error:
        line = one_line(error)
        tell(f"error: {line.message}")
        raise click.exceptions.Exit(line.exit_code) from None
    except Exception as error:
        context = click.get_current_context(silent=True)
        if context is not None and context.find_root().params.get("traceback"):
            raise
        lines, code = failure_lines(error)
        for each in lines.splitlines():
            tell(each)
        raise click.exceptions.Exit(code) from None
