"""Lines of a log: text for people, or JSON for programs. Each has a time and a level, and no secrets."""

from __future__ import annotations

import json
import logging
from typing import Any, Literal, TextIO, get_args

from acestep_flows.storage import without_login
from acestep_flows.wording.times import utc_time

LogFormat = Literal["text", "json"]
FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)

FIELDS = ("work", "run", "failures", "seconds")
"""What a record may carry in `extra`, for fields of its JSON."""

FIGURES = "figures"
"""Name in `extra` of more fields by name, as `json_line` puts them there."""


class TextLines(logging.Formatter):
    """`2026-03-08T12:00:00.000Z warning: the message`. A traceback is left to `traceback_of`."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line."""
        return f"{_time(record)} {record.levelname.lower()}: {_one_line(record.getMessage())}"


class JsonLines(logging.Formatter):
    """One JSON object on a line: `time`, `level`, `logger`, `message`, and where known FIELDS and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_login(record.getMessage()),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        line |= getattr(record, FIGURES, {})
        if traceback := traceback_of(record):
            line["exception"] = traceback
        return json.dumps(line, default=str)


def json_line(logger: str, level: int, message: str, **figures: Any) -> str:
    """A line of JSON for what is no log record.

    Args:
        level: as `logging` has it.
        figures: more fields by name; none may be called as one that every line has.
    """
    record = logging.LogRecord(logger, level, "", 0, message, None, None)
    setattr(record, FIGURES, figures)
    return JsonLines().format(record)


def lines_of(form: LogFormat) -> logging.Formatter:
    """The formatter of a format."""
    return JsonLines() if form == "json" else TextLines()


def log_to_stderr(form: LogFormat) -> None:
    """Write this process's own log records to stderr, where no command line does."""
    log = logging.getLogger("acestep_flows")
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, _ToStderr)]
    handler = _ToStderr()
    handler.setFormatter(lines_of(form))
    log.addHandler(handler)
    logging.getLogger("acestep_flows.api").setLevel(logging.INFO)


class _ToStderr(logging.StreamHandler[TextIO]):
    """Also writes the traceback that a line of text leaves out."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if isinstance(self.formatter, TextLines) and (traceback := traceback_of(record)):
            self.stream.write(f"{traceback}\n")


def traceback_of(record: logging.LogRecord) -> str:
    """The traceback of a record's exception, without secrets; empty if it has none."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return without_login(logging.Formatter().formatException(record.exc_info))


def _time(record: logging.LogRecord) -> str:
    return utc_time(record.created, "milliseconds")


def _one_line(text: str) -> str:
    """A text without line breaks and escape sequences, so that no caller can write a line of its own."""
    return without_login("".join(letter if letter.isprintable() else " " for letter in text))
