"""The command `keys`: what each API key of a server may use and has used."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

import click

from acestep_flows.cli.json_output import json_option, print_json
from acestep_flows.cli.serving import open_client, server_option

if TYPE_CHECKING:
    from acestep_flows.client import KeyAccount

DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--since", type=DAY, metavar="DAY", help="Count runs that ended on this day (UTC) or later.")
@click.option("--until", type=DAY, metavar="DAY", help="Count runs that ended on this day (UTC) or earlier.")
@json_option
@server_option
def keys(since: datetime | None, until: datetime | None, as_json: bool, server: str | None) -> None:
    """Show what each API key may use and has used. It asks a running server, with the key of an administrator."""
    with open_client(server) as client:
        accounts = client.api_keys(since=_day(since), until=_day(until))
    if as_json:
        print_json([account.content for account in accounts])
        return
    for account in accounts:
        click.echo(f"{_name(account)}: {'; '.join(_facts(account))}")
    if not accounts:
        click.echo("no keys")


def _day(time: datetime | None) -> date | None:
    return None if time is None else time.date()


def _name(account: KeyAccount) -> str:
    if account.name is None:
        return "(no key)"
    roles = ["administrator"] * account.admin or ["operator"] * account.operator
    return f"{account.name}{' (removed)' if not account.known else ''}{f' ({roles[0]})' if roles else ''}"


def _facts(account: KeyAccount) -> list[str]:
    """What a key uses now, of how much, and what its ended runs used."""
    usage = account.usage
    return [
        f"{account.active_runs}{_of(account.runs)} runs in hand",
        f"{account.compute_seconds_today:.1f}{_of(account.compute_seconds_per_day)} s of computation today",
        f"{account.stored_bytes_now}{_of(account.stored_bytes)} bytes of files",
        f"{usage.runs} runs ended, with {usage.music_seconds:.1f} s of music and {usage.compute_seconds:.1f} s of "
        "computation",
    ]


def _of(limit: float | None) -> str:
    return "" if limit is None else f" of {limit:.0f}"
