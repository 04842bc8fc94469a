"""The `encode` command: songs to latents, once, for training."""

from __future__ import annotations

import time
from pathlib import Path

import click

PLAIN_SECONDS = 10.0


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of encoded songs.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value: source.count=100.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Ray processes; 0: none.")
@click.option("--quiet", is_flag=True, help="No progress.")
def encode(recipe: str, out: Path, assignments: tuple[str, ...], workers: int, quiet: bool) -> None:
    """Encode songs for training by RECIPE, a YAML file or the name of one that comes with the package.

    What is already encoded in --out is kept: the same command goes on where it was interrupted. Songs that cannot be
    used are listed with their reasons and left out.
    """
    from acestep_flows.training.data.encoded import Broken, entries
    from acestep_flows.training.encode import encode as run
    from acestep_flows.training.encode import load_encode_recipe

    told = begun = time.monotonic()

    def report(done: int, songs: int, broken: int) -> None:
        nonlocal told
        now = time.monotonic()
        if not quiet and (now - told >= PLAIN_SECONDS or done == songs):
            told = now
            click.echo(f"{done} of {songs} songs, {broken} left out, {now - begun:.0f} s", err=True)

    run(load_encode_recipe(recipe, assignments), out, workers=workers, report=report)
    left_out = [entry for entry in entries(out) if isinstance(entry, Broken)]
    for entry in left_out[:20]:
        click.echo(f"left out {entry.key}: {entry.reason}", err=True)
    if len(left_out) > 20:
        click.echo(f"and {len(left_out) - 20} more, listed in {out}", err=True)
    click.echo(out)
