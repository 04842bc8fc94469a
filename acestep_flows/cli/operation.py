"""The commands `queue` and `audit`: stop and go on with what a server's table holds, and look up who did what."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from acestep_flows.wording.times import utc_time

if TYPE_CHECKING:
    from acestep_flows.api.store.database import Database
    from acestep_flows.api.store.switches import ServerRecord, Switch

POLL_SECONDS = 0.5
AUDIT_PAGE = 500

reason_option = click.option(
    "--reason", default="", metavar="TEXT", help="Why, for whoever looks at it later; callers see it."
)


@click.group()
def queue() -> None:
    """Pause and resume the queue, and drain servers before they are stopped."""


@queue.command("show")
@table_options
@as_json_option
def show(home: Path | None, database: str | None, as_json: bool) -> None:
    """Show whether the queue is paused, what is in it, and the servers that compute its runs."""
    with opened_tables(home, database) as tables:
        paused, counts, servers = _state(tables)
    if as_json:
        content = {"paused": _content(paused), **counts, "servers": [_server_content(one) for one in servers]}
        click.echo(json.dumps(content))
        return
    click.echo(f"runs that wait: {counts['queued']}, that are computed: {counts['running']}")
    if paused is not None:
        click.echo(f"the queue is paused {_since(paused)}")
    for server in servers:
        drains = f", drains {_since(server.drain)}" if server.drain is not None else ""
        click.echo(f"{server.name}: {server.runs} of {server.slots} runs{drains}")
    if not servers:
        click.echo("no server works now")


@queue.command("pause")
@reason_option
@table_options
def pause(reason: str, home: Path | None, database: str | None) -> None:
    """Start no more runs. What runs goes on to its end, and new runs are accepted and wait. Restarts do not end it."""
    from acestep_flows.api.store.switches import Switches

    with opened_tables(home, database) as tables:
        switch = Switches(tables).pause(person(), reason)
    click.echo(f"the queue is paused {_since(switch)}")


@queue.command("resume")
@table_options
def resume(home: Path | None, database: str | None) -> None:
    """Start runs again."""
    from acestep_flows.api.store.switches import Switches

    with opened_tables(home, database) as tables:
        was_paused = Switches(tables).resume(person())
    click.echo("runs are started again" if was_paused else "the queue was not paused")


@queue.command("drain")
@click.argument("server")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Return when the server has no runs left; fail (code 7) if it has some after this time.",
)
@reason_option
@table_options
def drain(server: str, wait: float | None, reason: str, home: Path | None, database: str | None) -> None:
    """Let SERVER start and accept no more runs. What it computes goes on.

    SERVER is a name of `queue show`, or a host, for all servers of it. A server that is started again works.
    """
    from acestep_flows.api.store.switches import Switches

    with opened_tables(home, database) as tables:
        switches = Switches(tables)
        names = _named(switches.servers(), server)
        for name in names:
            switches.drain(name, person(), reason)
            click.echo(f"{name} drains")
        if wait is not None:
            _wait(switches, names, wait)
            click.echo("no runs are left there; it can be stopped")


@queue.command("undrain")
@click.argument("server")
@table_options
def undrain(server: str, home: Path | None, database: str | None) -> None:
    """Let SERVER work again."""
    from acestep_flows.api.store.switches import Switches

    with opened_tables(home, database) as tables:
        switches = Switches(tables)
        for name in _named(switches.servers(), server):
            click.echo(f"{name} works again" if switches.undrain(name, person()) else f"{name} did not drain")


@click.command()
@table_options
@click.option("--who", metavar="NAME", help="Only what this key did ('' without keys).")
@click.option("--action", metavar="ACTION", help="Only this action (run.deleted), or all of a kind (run, key, queue).")
@since_option
@until_option
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The latest N.")
@as_json_option
def audit(
    home: Path,
    database: str | None,
    who: str | None,
    action: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List who did what, newest first; as JSON, one object on each line."""
    from acestep_flows.api.store.audit import ACTIONS
    from acestep_flows.errors import InputError

    kinds = {known.partition(".")[0] for known in ACTIONS}
    if action is not None and action not in (*ACTIONS, *kinds):
        raise InputError(f"{action!r}: no such action", where="--action", allowed=", ".join((*sorted(kinds), *ACTIONS)))
    end = until
    if until is not None and (until.hour, until.minute, until.second) == (0, 0, 0):  # a day, and all of it
        end = until + timedelta(days=1)
    found = False
    with opened_tables(home, database) as tables:
        for record in _audited(tables, limit, who=who, action=action, since=start_of(since), until=start_of(end)):
            found = True
            if as_json:
                click.echo(json.dumps(vars(record)))
            else:
                details = " ".join(f"{name}={value}" for name, value in record.details.items())
                line = f"{_moment(record.time)} {record.who or '(no key)'} {record.action} {record.object} {details}"
                click.echo("".join(letter if letter.isprintable() else " " for letter in line).rstrip())
    if not found and not as_json:
        click.echo("nothing")


def _audited(tables: Database, limit: int, **which: Any) -> Iterator[Any]:
    from acestep_flows.api.store.audit import Audit

    log, before = Audit(tables), None
    while limit > 0:
        page = log.list(limit=min(limit, AUDIT_PAGE), before=before, **which)
        yield from page
        if len(page) < min(limit, AUDIT_PAGE):
            return
        limit, before = limit - len(page), page[-1].number


def _state(tables: Database) -> tuple[Switch | None, dict[str, int], tuple[ServerRecord, ...]]:
    from acestep_flows.api.store.records import RunState
    from acestep_flows.api.store.runs import RunTable
    from acestep_flows.api.store.schema import QUEUE
    from acestep_flows.api.store.switches import Switches

    switches, counts = Switches(tables), RunTable(tables).counts()
    in_hand = {state.value: counts[state] for state in (RunState.QUEUED, RunState.RUNNING)}
    return switches.read().get(QUEUE), in_hand, switches.servers()


def _named(servers: tuple[ServerRecord, ...], name: str) -> list[str]:
    from acestep_flows.errors import InputError

    named = [one.name for one in servers if one.name == name or one.name.startswith(f"{name}-")]
    if not named:
        allowed = ", ".join(one.name for one in servers) or "none works now"
        raise InputError(f"no server {name!r}", where="SERVER", allowed=allowed)
    return named


def _wait(switches: Any, names: list[str], seconds: float) -> None:
    from acestep_flows.errors import DeadlineExceeded

    end = time.monotonic() + seconds
    while left := sum(one.runs for one in switches.servers() if one.name in names):
        if time.monotonic() > end:
            raise DeadlineExceeded(f"{left} run{'s are' if left > 1 else ' is'} still computed after {seconds:g} s")
        time.sleep(POLL_SECONDS)


def _since(switch: Switch) -> str:
    return f"since {_moment(switch.since)} by {switch.who or '(no key)'}{switch.because}"


def _moment(seconds: float) -> str:
    return utc_time(seconds, "seconds")


def _content(switch: Switch | None) -> dict[str, Any] | None:
    return None if switch is None else {"since": switch.since, "who": switch.who, "reason": switch.reason}


def _server_content(server: ServerRecord) -> dict[str, Any]:
    return {**vars(server), "drain": _content(server.drain)}
