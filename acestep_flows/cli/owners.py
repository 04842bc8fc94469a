"""The commands `adopt` and `usage`: who owns what a server made, and who used how much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from acestep_flows.api.store.database import Database

_home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the server, as for serve. The server may be running.",
)
_database_option = click.option("--database", metavar="URL", help="PostgreSQL, where serve has it.")
_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command()
@click.argument("name")
@_home_option
@_database_option
@_json_option
def adopt(name: str, home: Path, database: str | None, as_json: bool) -> None:
    """Give the API key called NAME all runs and uploads of the time without keys."""
    from acestep_flows.api.http.keys import check_name
    from acestep_flows.api.store.adoption import adopt as adopt_all

    check_name(name, "NAME")
    with _tables(home, database) as tables:
        adopted = adopt_all(tables, name)
    if as_json:
        click.echo(json.dumps({"owner": name, "runs": adopted.runs, "uploads": adopted.uploads}))
    else:
        click.echo(f"{name} now also owns {adopted.runs} runs and {adopted.uploads} uploads")


@click.command()
@_home_option
@_database_option
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="From this day on (UTC).")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Up to this day (UTC).")
@_json_option
def usage(home: Path, database: str | None, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """List what the ended runs of every API key used."""
    from acestep_flows.api.store.usage import Usage

    with _tables(home, database) as tables:
        records = Usage(tables).by_owner(None, _seconds(since), _seconds(until))
    if as_json:
        click.echo(json.dumps([vars(record) for record in records]))
        return
    for record in records:
        click.echo(
            f"{record.owner or '(no key)'}: {record.runs} runs, {record.music_seconds:.1f} s of music, "
            f"{record.compute_seconds:.1f} s of computation"
        )
    if not records:
        click.echo("no runs")


@contextmanager
def _tables(home: Path, database: str | None) -> Iterator[Database]:
    """The database of a server.

    Raises:
        InputError: no server has run with this home.
    """
    from acestep_flows.api.store.database import Database
    from acestep_flows.errors import InputError
    from acestep_flows.settings import read_settings

    database, file = database or read_settings().database, home / "runs.sqlite"
    if database is None and not file.is_file():
        raise InputError(f"no server has run in {home}", where="--home", allowed="the folder that serve was given")
    tables = Database(database) if database is not None else Database.file(file.absolute())
    try:
        yield tables
    finally:
        tables.close()


def _seconds(day: datetime | None) -> float | None:
    return None if day is None else day.replace(tzinfo=UTC).timestamp()
