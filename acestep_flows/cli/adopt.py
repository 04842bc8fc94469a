"""The command `adopt`: an owner for what a server made while it had no API keys."""

from __future__ import annotations

import json
from pathlib import Path

import click

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("name")
@click.option("--home", type=FOLDER, required=True, help="Folder of the server, as for serve.")
@click.option("--database", metavar="URL", help="PostgreSQL, where serve has it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def adopt(name: str, home: Path, database: str | None, as_json: bool) -> None:
    """Give the API key called NAME all runs and uploads of the time without keys.

    The server may be running.
    """
    from acestep_flows.api.http.keys import check_name
    from acestep_flows.api.store.adoption import adopt as adopt_all
    from acestep_flows.api.store.database import Database
    from acestep_flows.errors import InputError

    check_name(name, "NAME")
    file = home / "runs.sqlite"
    if database is None and not file.is_file():
        raise InputError(f"no server has run in {home}", where="--home", allowed="the folder that serve was given")
    tables = Database(database) if database is not None else Database.file(file.absolute())
    try:
        adopted = adopt_all(tables, name)
    finally:
        tables.close()
    if as_json:
        click.echo(json.dumps({"owner": name, "runs": adopted.runs, "uploads": adopted.uploads}))
    else:
        click.echo(f"{name} owns {adopted.runs} runs and {adopted.uploads} uploads more")
