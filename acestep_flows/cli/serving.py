"""The commands `serve` and `key`, and those that ask a server about runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from acestep_flows.cli.json_output import json_option, print_json
from acestep_flows.cli.options import out_option
from acestep_flows.cli.terminal import INTERRUPTED, TERMINATED
from acestep_flows.optional_packages import require
from acestep_flows.settings import read_settings

if TYPE_CHECKING:
    from acestep_flows.client import Client, Run, RunEvent
    from acestep_flows.wording.log_lines import LogFormat

Command = TypeVar("Command", bound=Callable[..., Any])

BRIEF, LONG = 3.0, 600.0
"""Seconds to wait for a server that does not answer: at first, and after it has answered once (it may restart)."""

FOLDER = click.Path(file_okay=False, path_type=Path)

server_option = click.option("--server", metavar="URL", help="The server's address.  [default: http://127.0.0.1:8777]")

previews_option = click.option(
    "--previews", type=FOLDER, metavar="FOLDER", help="Save the latest preview to this folder (needs --preview-every)."
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need API keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8777, show_default=True, help="0 takes a free one.")
@click.option("--home", type=FOLDER, required=True, help="Folder for runs and their outputs; all that a restart needs.")
@click.option(
    "--pool",
    default="auto",
    show_default="auto: what fits this machine",
    metavar="FILE",
    help="Pool file, or a shipped one by name: local, per-core, single-gpu, gpu-pool, gpu-scaling, split.",
)
@click.option(
    "--ray", metavar="ADDRESS", help="A running Ray cluster for the processes; auto: RAY_ADDRESS, or this machine's."
)
@click.option("--rehearse", is_flag=True, help="Try a pool without its GPUs: the same processes, on the processor.")
@click.option("--graphs", "folders", multiple=True, type=FOLDER, help="Folder with graphs of your own; repeatable.")
@click.option("--inline-graphs", is_flag=True, help="Let callers run graphs of their own.")
@click.option("--origin", "origins", multiple=True, metavar="URL", help="Web origin that may call; repeatable.")
@click.option("--database", metavar="URL", help="PostgreSQL in place of a file under --home.")
@click.option("--artifacts", metavar="URL", help="S3-compatible store in place of a folder under --home.")
@click.option("--public-url", metavar="URL", help="Address for others, as a proxy has it; for links and webhooks.")
@click.option("--private-webhooks", is_flag=True, help="Let webhooks go to private addresses.")
@click.option(
    "--private-fetches",
    is_flag=True,
    help="With --speak: audio may be fetched from private addresses.",
)
@click.option("--direct-links", is_flag=True, help="Let links to files lead straight into the S3 store.")
@click.option(
    "--speak",
    multiple=True,
    metavar="NAME[=PORT]",
    help="Speak another server's interface too, at /compat/NAME, or alone on a loopback port; repeatable.",
)
@click.option("--studio/--no-studio", default=True, show_default=True, help="Serve the page for people at /studio/.")
@click.option(
    "--drain",
    type=click.FloatRange(0, 3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds that runs may still use after a stop signal. Unfinished runs continue after a restart.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log records with time and level: text, or every line a JSON object.",
)
def serve(log_format: LogFormat, **options: Any) -> None:
    """Serve graphs over HTTP. An accepted run continues when a stopped or crashed server is started again.

    It says on stderr what it starts, and writes one line to stdout when it is ready. Stop it with ctrl-C or SIGTERM.
    """
    from acestep_flows.cli.serve_terminal import ServeTerminal

    require("serve", "serve")
    terminal = ServeTerminal(log_format)
    terminal.tell("starting")  # what is imported next takes seconds
    from acestep_flows.api.server.options import ServerOptions
    from acestep_flows.api.server.server import serve_forever
    from acestep_flows.api.server.stop_signals import Terminated

    try:
        with terminal.formatted():
            serve_forever(
                ServerOptions(**options), read_settings(), terminal.ready, tell=terminal.tell, divert=terminal.divert
            )
    except KeyboardInterrupt as stop:
        terminal.tell("stopped before it was ready")
        sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)


@click.command()
@click.argument("run", required=False)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME[=TEXT]",
    help="List only runs with this label; several must all match.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything the server says.")
@server_option
def status(run: str | None, labels: tuple[str, ...], as_json: bool, server: str | None) -> None:
    """Show the state of RUN; without RUN, list the latest runs."""
    from acestep_flows.cli.listing import run_lines, runs_lines

    if run is not None and labels:
        raise click.UsageError("--label lists runs; leave RUN out")
    record = None
    with open_client(server) as client:
        if run is None:
            filters = [label.replace("=", ":", 1) for label in labels]
            runs = list(client.runs(limit=20, label=filters or None))
            content: Any = [listed.content for listed in runs]
            lines = runs_lines(runs) if runs else iter(["no runs"])
            waits = any(listed.state == "queued" for listed in runs)
        else:
            record = client.status(run)
            waits = record.state == "queued"
        paused = bool(waits and client.stats().get("paused"))
    if record is not None:
        content, lines = record.content, run_lines(record, paused)
    if paused:
        click.echo("the queue is paused: runs wait until the operator resumes it", err=True)
    if as_json:
        print_json(content)
    else:
        for line in lines:
            click.echo(line)


@click.command()
@click.argument("run")
@click.option("--quiet", is_flag=True, help="Only wait.")
@previews_option
@server_option
def watch(run: str, quiet: bool, previews: Path | None, server: str | None) -> None:
    """Show the progress of RUN, node by node, until it is over.

    The exit code is that of the run. Reconnects after a lost connection.
    """
    with open_client(server) as client:
        record = client.status(run)
    follow(record, server, quiet, previews)


@click.command("fetch-output")
@click.argument("run")
@click.argument("outputs", nargs=-1)
@out_option
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@server_option
def fetch_output(run: str, outputs: tuple[str, ...], out: Path, quiet: bool, as_json: bool, server: str | None) -> None:
    """Fetch OUTPUTS of RUN by name; without names, its audio."""
    from acestep_flows.cli.progress import show_transfers
    from acestep_flows.client.connection import is_audio_file
    from acestep_flows.errors import InputError, NotFound
    from acestep_flows.storage import check_folder
    from acestep_flows.weights.download import TransferProgress

    with open_client(server) as client:
        record = client.status(run)
        if record.failure is not None:
            raise record.failure
        names = outputs or tuple(name for name, output in record.outputs.items() if output.kind == "audio")
        if not names:
            available = ", ".join(record.outputs) or f"none, it is {record.state}"
            raise NotFound(f"run {run} has no audio output; there are: {available}")
    as_file = is_audio_file(out)
    if as_file and len(names) > 1:
        what = f"{str(out)!r} is one file, but there are {len(names)} outputs"
        raise InputError(what, where="--out", allowed=f"a folder, or a file and one of {', '.join(names)}")
    check_folder(out.parent if as_file else out)
    files: dict[str, str] = {}
    with open_client(server, LONG) as client, show_transfers(quiet) as show:
        for name in names:

            def show_bytes(done: int, total: int, name: str = name) -> None:
                show(TransferProgress(name, "download", done, total))

            files[name] = str(client.fetch_output(run, name, out, show_bytes))
            if not as_json:
                click.echo(files[name])
    if as_json:
        print_json(files)


@click.command()
@click.argument("run")
@json_option
@server_option
def cancel(run: str, as_json: bool, server: str | None) -> None:
    """Stop RUN; if it is running, at its next step."""
    with open_client(server) as client:
        record = client.cancel(run)
    if as_json:
        print_json(record.content)
        return
    click.echo(f"{record.id} {record.state if record.ended else 'stops at its next step'}")


@click.command()
@click.argument("name")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The key file.  [default: that of ACESTEP_FLOWS_API_KEY_FILE]",
)
@click.option("--requests-per-minute", type=int, metavar="N", help="Requests, on average.  [default: 600]")
@click.option("--runs", type=int, metavar="N", help="Runs that wait or work at once.  [default: no limit]")
@click.option(
    "--compute-seconds-per-day", type=int, metavar="N", help="Seconds of computation in a day.  [default: no limit]"
)
@click.option("--stored-bytes", type=int, metavar="N", help="Bytes of files that are kept.  [default: no limit]")
@click.option("--operator", is_flag=True, help="It sees the numbers of the whole server, also with other keys.")
@click.option("--admin", is_flag=True, help="It may pause the queue, drain servers and read the audit log.")
def key(name: str, file: Path | None, operator: bool, admin: bool, **limits: int | None) -> None:
    """Make an API key for NAME, print it once and store its digest.

    Servers read the file when they start.
    """
    require("serve", "key")
    from acestep_flows.api.http.keys import add_key
    from acestep_flows.errors import InputError
    from acestep_flows.settings import API_KEY_FILE

    file = file or read_settings().api_key_file
    if file is None:
        raise InputError("no key file", where="--file", allowed=f"a path, here or in {API_KEY_FILE}")
    click.echo(add_key(file, name, operator=operator or None, admin=admin or None, **limits))


COMMANDS = (serve, key, status, watch, fetch_output, cancel)


def open_client(server: str | None, patience: float = BRIEF) -> Client:
    """A client of the server at an address, or of the one in the environment."""
    from acestep_flows.client import Client

    return Client(server or None, patience=patience)


def follow(run: Run, server: str | None, quiet: bool, previews: Path | None) -> None:
    """Show a run until it is over, and raise its error if it failed. Previews are written to the folder, if any."""
    from acestep_flows.cli.progress import RemoteEvents, show_run

    if run.queue_position and not quiet:
        click.echo(f"{run.queue_position} runs are before it", err=True)
    with open_client(server, LONG) as client, _detachable(run.id), ExitStack() as display:
        watched: RemoteEvents | None = None
        for event in client.events(run.id):
            if event.type == "continued" and not quiet:
                click.echo("goes on after an interruption", err=True)
            if event.node and watched is None:
                stages = [node.stage for node in client.status(run.id).nodes]
                watched = RemoteEvents(display.enter_context(show_run(stages, quiet)))
            if watched is not None:
                watched.hear(event)
            if event.type == "preview" and previews is not None:
                _keep_preview(client, run.id, event, previews, quiet)
        display.close()
        ended = client.status(run.id)
    if ended.failure is not None:
        raise ended.failure
    if not quiet:
        click.echo(f"{ended.state}: {', '.join(ended.outputs)}", err=True)


def _keep_preview(client: Client, run: str, event: RunEvent, folder: Path, quiet: bool) -> None:
    """Fetch the latest preview of a node; it replaces the one before."""
    from acestep_flows import storage
    from acestep_flows.errors import NotFound

    try:
        audio = client.preview(run, event.node)
    except NotFound:
        return  # expired: the run ended long ago
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", event.node).strip("-")
    path = storage.write(folder / f"{run}-{safe}.wav", audio)
    if not quiet:
        click.echo(f"{path}: as it sounds after step {event.content['step']} of {event.content['steps']}", err=True)


@contextmanager
def _detachable(run: str) -> Iterator[None]:
    """Let ctrl-C end the watching, not the run."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"the run goes on; acestep-flows watch {run} shows it again", err=True)
        sys.exit(INTERRUPTED)
