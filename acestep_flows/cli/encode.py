"""The `encode` command: encode songs to latents once, for training."""

from __future__ import annotations

import time
from pathlib import Path

import click

from acestep_flows.errors import InputError

PLAIN_SECONDS = 10.0
LISTED = 20
"""Songs that are listed here; the folder's listings have all of them."""


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of encoded songs.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value: source.count=100.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Ray processes; 0: none.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps; a GPU for each worker.")
@click.option("--quiet", is_flag=True, help="No progress.")
def encode(recipe: str, out: Path, assignments: tuple[str, ...], workers: int, device: str, quiet: bool) -> None:
    """Encode songs for training by RECIPE, a YAML file or the name of one that comes with the package.

    Songs that are already encoded in --out are not encoded again, so after ctrl-C the same command goes on. Songs that
    cannot be used are left out and listed with the reason; the same command tries them again.
    """
    from acestep_flows.model.placement import choose_placement
    from acestep_flows.training.data.encode import encode as run
    from acestep_flows.training.data.encode import load_encode_recipe
    from acestep_flows.training.data.encoded import Broken, entries

    last = begun = time.monotonic()

    def report(done: int, songs: int, broken: int) -> None:
        nonlocal last
        now = time.monotonic()
        if not quiet and (now - last >= PLAIN_SECONDS or done == songs):
            last = now
            click.echo(f"{done} of {songs} songs, {broken} left out, {now - begun:.0f} s", err=True)

    place = choose_placement(device, "float32", False).device
    run(load_encode_recipe(recipe, assignments), out, workers=workers, device=place, report=report)
    songs = list(entries(out))
    broken = [song for song in songs if isinstance(song, Broken)]
    _list([f"left out {song.key}: {song.reason.removeprefix(f'{song.key}: ')}" for song in broken], out)
    _list([f"{song.key}: {song.note}" for song in songs if not isinstance(song, Broken) and song.note], out)
    if songs and len(broken) == len(songs):
        raise InputError("no song was encoded: each was left out", where=str(out), allowed="at least one good song")
    click.echo(out)


def _list(lines: list[str], out: Path) -> None:
    for line in lines[:LISTED]:
        click.echo(line, err=True)
    if len(lines) > LISTED:
        click.echo(f"and {len(lines) - LISTED} more, listed in {out}", err=True)
