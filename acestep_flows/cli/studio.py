"""The command `studio`: a server with its page, opened in the browser. It takes the options of v1's own page, too."""

from __future__ import annotations

import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

import click

from acestep_flows.cli.options import CHECKPOINT_HELP
from acestep_flows.errors import InputError
from acestep_flows.optional_packages import require
from acestep_flows.settings import read_settings
from acestep_flows.storage import user_path

HOME = "~/acestep-flows"
"""Where takes are kept unless --home names another folder."""

NO_TUNNEL = (
    "there is no public tunnel here; make keys (acestep-flows key NAME --file keys.json), set "
    "ACESTEP_FLOWS_API_KEY_FILE, and give --host 0.0.0.0 to your own network, or put a proxy with TLS in front"
)

NAMES_OF_V1 = {"checkpoint_path": "checkpoint", "device_id": "device", "server_name": "host"}
"""Options as v1's page has them, and our names of them. The help does not list them."""

FOLDER = click.Path(file_okay=False, path_type=Path)


class _Words(click.ParamType[bool]):
    """v1's way to write a switch: the option alone, or with `true` or `false` after it."""

    name = "boolean"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        """A truth value."""
        return bool(click.BOOL.convert(value, param, ctx))


@click.command(context_settings={"token_normalize_func": lambda name: NAMES_OF_V1.get(name, name)})
@click.option("--checkpoint", metavar="DIR|ORG/NAME", help=CHECKPOINT_HELP)
@click.option("--port", type=click.IntRange(0, 65535), default=7865, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Others need API keys.")
@click.option("--device", type=click.IntRange(0, 63), metavar="ID", help="Number of the GPU to use.")
@click.option(
    "--bf16",
    is_flag=False,
    flag_value="true",
    type=_Words(),
    metavar="[BOOLEAN]",
    help="Compute in bfloat16 (--no-bf16: in float32).  [default: bfloat16 on a GPU]",
)
@click.option("--no-bf16", is_flag=True, hidden=True)
@click.option("--home", type=FOLDER, help=f"Folder for takes and uploads.  [default: {HOME}]")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page when it is ready.")
@click.option("--share", is_flag=False, flag_value="true", type=_Words(), hidden=True)
def studio(
    checkpoint: str | None,
    port: int,
    host: str,
    device: int | None,
    bf16: bool | None,
    no_bf16: bool,
    home: Path | None,
    browser: bool,
    share: bool | None,
) -> None:
    """Make and edit songs in the browser: starts a server on this machine, and opens its page.

    Takes are kept in the home folder. Runs that have not ended go on after the next start.
    """
    if share:
        raise InputError(NO_TUNNEL, where="--share")
    if bf16 is not None and no_bf16:
        raise click.UsageError("--bf16 and --no-bf16 exclude each other")
    require("serve", "studio")
    from acestep_flows.api.server.options import ServerOptions
    from acestep_flows.api.server.server import serve_forever
    from acestep_flows.cli.serve_terminal import ServeTerminal
    from acestep_flows.cli.terminal import INTERRUPTED

    precise = no_bf16 or bf16 is False
    options = ServerOptions(
        host=host,
        port=port,
        home=home or user_path(HOME, "--home"),
        pool="auto",
        checkpoint=checkpoint,
        device=device,
        dtype="float32" if precise else "bfloat16" if bf16 else None,
    )
    terminal = ServeTerminal()
    try:
        serve_forever(
            options,
            read_settings(),
            terminal.ready,
            tell=terminal.tell,
            divert=terminal.divert,
            show=open_page if browser else lambda address: None,
        )
    except KeyboardInterrupt:
        click.echo("stopped before it was ready", err=True)
        sys.exit(INTERRUPTED)


def open_page(address: str) -> None:
    """Open the page in the person's browser, if there is one with a window. The server goes on meanwhile."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:  # which would take over the terminal
        threading.Thread(target=browser.open, args=(address,), daemon=True).start()
