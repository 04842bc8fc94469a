"""The `adapter` commands: look into LoRA adapters, merge them into a checkpoint, convert them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from acestep_flows.cli.json_output import json_option, print_json
from acestep_flows.settings import read_settings
from acestep_flows.weights.choose import choose_weights

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def adapter() -> None:
    """List, inspect, merge and convert LoRA adapters."""


@adapter.command("list")
@click.option("--checkpoint", metavar="DIR|ORG/NAME", help="The checkpoint that they are for.")
@json_option
def list_installed(checkpoint: str | None, as_json: bool) -> None:
    """List the adapters that --set adapter= takes by name, and the control branches, of the weights at hand."""
    extras = choose_weights(read_settings(), checkpoint).open().extras
    kinds: tuple[tuple[str, list[str]], ...] = (
        ("adapters", extras.names("adapters")),
        ("controls", extras.names("controls")),
    )
    if as_json:
        print_json(dict(kinds))
        return
    for kind, names in kinds:
        click.echo(f"{kind}: {', '.join(names) or 'none'}")
    click.echo("A LoRA's file or folder is taken by its path, too: --set adapter=PATH")


@adapter.command()
@click.argument("name", metavar="PATH|NAME")
@click.option("--checkpoint", metavar="DIR|ORG/NAME", help="Check that it is for this checkpoint.")
def inspect(name: str, checkpoint: str | None) -> None:
    """Show layers, ranks, scaling and size of an adapter, in any format that is read.

    NAME is one that is installed beside the weights, as --set adapter=NAME takes it.
    """
    from acestep_flows.model.adapters import Adapter
    from acestep_flows.model.layout import TRANSFORMER
    from acestep_flows.training.adapters.files import describe

    path = _found(name, checkpoint)
    content = Adapter.read(path)
    if checkpoint is not None:
        opened = choose_weights(read_settings(), checkpoint).open()
        content.check(opened.config(TRANSFORMER), str(path), opened.digest(TRANSFORMER))
    click.echo(json.dumps(describe(content), indent=2))


@adapter.command()
@click.argument("adapters", nargs=-1, required=True, metavar="PATH|NAME[=WEIGHT]...")
@click.option("--checkpoint", metavar="DIR|ORG/NAME", required=True, help="The checkpoint that they are for.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the new checkpoint.")
def merge(adapters: tuple[str, ...], checkpoint: str, out: Path) -> None:
    """Write a checkpoint with adapters merged into its weights, each scaled by its WEIGHT (default 1).

    The checkpoint's own adapters/ and controls/ are left out: they were trained on other weights.
    """
    from acestep_flows.training.adapters.merge import merge as run

    weighted = [_weighted(argument) for argument in adapters]
    found = [(_found(name, checkpoint), weight) for name, weight in weighted]
    run(choose_weights(read_settings(), checkpoint).open(), found, out)
    click.echo(out)


@adapter.command()
@click.argument("name", metavar="PATH|NAME")
@click.option("--out", type=FOLDER, required=True, help="Folder to write to.")
@click.option("--to", "form", type=click.Choice(["acestep", "peft"]), default="acestep", show_default=True)
@click.option("--alpha", type=float, help="Scaling, where the file names none.")
@click.option("--rslora", is_flag=True, help="With --alpha: divide by the square root of the rank (rsLoRA).")
@click.option("--fold", is_flag=True, help="Multiply the scaling into the matrices, for loaders that read no metadata.")
@click.option("--dtype", type=click.Choice(["keep", "float32", "bfloat16"]), default="keep", show_default=True)
def convert(name: str, out: Path, form: str, alpha: float | None, rslora: bool, fold: bool, dtype: str) -> None:
    """Convert an adapter from peft, diffusers or kohya to the published format, or from that to peft's."""
    import torch

    from acestep_flows.model.adapters import Adapter
    from acestep_flows.training.adapters.files import folded, rounded, write

    content = Adapter.read(_found(name), alpha, rslora)
    if fold:
        content = folded(content)
    if dtype != "keep":
        content = rounded(content, getattr(torch, dtype))
    click.echo(write(content, out, "peft" if form == "peft" else "acestep"))


def _found(name: str, checkpoint: str | None = None) -> Path:
    """The adapter at a path, or the one of that name beside the weights, as --set adapter= takes it."""
    path = Path(name)
    return path if path.exists() else choose_weights(read_settings(), checkpoint).open().extras.find("adapters", name)


def _weighted(argument: str) -> tuple[str, float]:
    """An adapter and its weight."""
    name, equals, weight = argument.rpartition("=")
    if equals and not Path(argument).exists():
        try:
            return name, float(weight)
        except ValueError:
            raise click.BadParameter(f"{weight!r} is not a number", param_hint="PATH=WEIGHT") from None
    return argument, 1.0
