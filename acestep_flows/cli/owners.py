"""The commands `adopt` and `usage`: who owns what a server made, and who used how much."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from acestep_flows.cli.server_tables import (
    as_json_option,
    opened_tables,
    person,
    since_option,
    start_of,
    table_options,
    until_option,
)


@click.command()
@click.argument("name")
@table_options
@as_json_option
def adopt(name: str, home: Path | None, database: str | None, as_json: bool) -> None:
    """Give the API key called NAME all runs and uploads of the time without keys."""
    from acestep_flows.api.http.keys import check_name
    from acestep_flows.api.store.adoption import adopt as adopt_all

    check_name(name, "NAME")
    with opened_tables(home, database) as tables:
        adopted = adopt_all(tables, name, person())
    if as_json:
        click.echo(json.dumps({"owner": name, "runs": adopted.runs, "uploads": adopted.uploads}))
    else:
        click.echo(f"{name} now also owns {adopted.runs} runs and {adopted.uploads} uploads")


@click.command()
@table_options
@since_option
@until_option
@click.option("--stored", is_flag=True, help="List the bytes of files that each key keeps now, instead.")
@as_json_option
def usage(
    home: Path | None, database: str | None, since: datetime | None, until: datetime | None, stored: bool, as_json: bool
) -> None:
    """List what the ended runs of every API key used."""
    from acestep_flows.api.store.usage import Usage

    if stored:
        if since or until:
            raise click.UsageError("--stored is about now; leave --since and --until out")
        _list_stored(home, database, as_json)
        return
    with opened_tables(home, database) as tables:
        records = Usage(tables).by_owner(None, start_of(since), start_of(until))
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


def _list_stored(home: Path | None, database: str | None, as_json: bool) -> None:
    from acestep_flows.api.store.quotas import QuotaTable

    with opened_tables(home, database) as tables:
        stored = QuotaTable(tables).stored()
    if as_json:
        click.echo(json.dumps([{"owner": owner, "stored_bytes": size} for owner, size in stored.items()]))
        return
    for owner, size in stored.items():
        click.echo(f"{owner or '(no key)'}: {size} bytes")
    if not stored:
        click.echo("no files")
