"""The tables of a server for commands that need no server: their options, and who used them."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from acestep_flows.api.store.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])

_home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the server, as for serve. The server may be running. Not needed with PostgreSQL.",
)
_database_option = click.option("--database", metavar="URL", help="PostgreSQL, where serve has it.")
as_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


class _Moment(click.ParamType[datetime]):
    """A day or a time in ISO 8601; without an offset it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            forms = "2026-03-01 or 2026-03-01T12:00:00Z"
            self.fail(f"{str(value)!r} (allowed: a day or a time in ISO 8601, such as {forms})", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


since_option = click.option("--since", type=_Moment(), metavar="TIME", help="From this day or time on (UTC).")
until_option = click.option("--until", type=_Moment(), metavar="TIME", help="Up to this day or time (UTC).")


def table_options(command: Command) -> Command:
    """Add `--home` and `--database`, for `opened_tables`."""
    return _home_option(_database_option(command))


@contextmanager
def opened_tables(home: Path | None, database: str | None) -> Iterator[Database]:
    """The database of a server.

    Raises:
        InputError: neither is given, or no server has run with this home.
    """
    from acestep_flows.api.store.database import Database
    from acestep_flows.errors import InputError
    from acestep_flows.settings import read_settings

    database = database or read_settings().database
    if database is not None:
        tables = Database(database)
    elif home is None:
        raise InputError("missing", where="--home", allowed="the folder that serve was given, or --database")
    elif not (file := home / "runs.sqlite").is_file():
        raise InputError(f"no server has run in {home}", where="--home", allowed="the folder that serve was given")
    else:
        tables = Database.file(file.absolute())
    try:
        yield tables
    finally:
        tables.close()


def start_of(day: datetime | None) -> float | None:
    """The first second of a day, since the epoch."""
    return None if day is None else day.timestamp()


def person() -> str:
    """Who uses the command line, for the audit log."""
    try:
        return f"command line: {getpass.getuser()}"
    except (OSError, KeyError):  # a user without a name, as in a container
        return "command line"
