"""The `encode` command: encode songs to latents once, for training."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from acestep_flows.cli.command_log import CommandLog, log_format_option
from acestep_flows.cli.options import DEVICE
from acestep_flows.errors import InputError
from acestep_flows.wording.log_lines import LogFormat
from acestep_flows.wording.phrases import counted

PLAIN_SECONDS = 10.0
LISTED = 20
"""Reasons that are listed here; the folder's listings have those of every song."""

NAMED = 3
"""Songs that are named for each reason."""


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of encoded songs.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change a value: source.count=100.")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Ray processes; 0: none.")
@click.option(
    "--device", type=DEVICE, default="auto", show_default=True, help="cpu, cuda, cuda:N, mps; a GPU for each worker."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@log_format_option
def encode(log_format: LogFormat, **options: Any) -> None:
    """Encode songs for training by RECIPE, a YAML file or the name of one that comes with the package.

    Songs that are already encoded in --out are not encoded again, so after ctrl-C the same command goes on. Songs that
    cannot be used are left out and listed with the reason; the same command tries them again.
    """
    log = CommandLog("encode", log_format)
    with log.formatted():
        _encode(log, **options)


def _encode(
    log: CommandLog, recipe: str, out: Path, assignments: tuple[str, ...], workers: int, device: str, quiet: bool
) -> None:
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
            encoded = f"{done - broken} of {counted(str(songs), 'song')} encoded"
            figures: dict[str, Any] = {"songs": songs, "encoded": done - broken, "left_out": broken}
            line = f"{encoded}, {broken} left out, {now - begun:.0f} s"
            log.tell(line, **figures, seconds=round(now - begun, 1))

    place = choose_placement(device, "float32", False).device
    run(load_encode_recipe(recipe, assignments), out, workers=workers, device=place, report=report)
    songs = list(entries(out))
    broken = [song for song in songs if isinstance(song, Broken)]
    _list(log, "left out ", [(song.key, song.reason) for song in broken], out)
    _list(log, "", [(song.key, song.note) for song in songs if not isinstance(song, Broken) and song.note], out)
    if songs and len(broken) == len(songs):
        raise InputError("no song was encoded: each was left out", where=str(out), allowed="at least one good song")
    click.echo(out)


def _list(log: CommandLog, before: str, remarks: Sequence[tuple[str, str]], out: Path) -> None:
    """A line for each reason, with its songs.

    Args:
        remarks: name of a song, and what there is to say of it.
    """
    songs: dict[str, list[str]] = {}
    for key, remark in remarks:
        songs.setdefault(_for_any_song(key, remark), []).append(key)
    own = dict(remarks)
    for reason, keys in list(songs.items())[:LISTED]:
        text = reason if len(keys) > 1 else own[keys[0]].removeprefix(f"{keys[0]}: ")
        log.warn(f"{before}{_names(keys)}: {text}")
    if hidden := sum(map(len, list(songs.values())[LISTED:])):
        log.warn(f"and {counted(str(hidden), 'song')} more, listed in {out}")


def _for_any_song(key: str, remark: str) -> str:
    """A remark about a song without its name: what is said of one song may be true of others."""
    name = re.escape(Path(key).name)
    without_file = re.sub(rf"^[^:]*(/|\\|\b{name})[^:]*: ", "", remark)
    return re.sub(rf"(?<!\w){name}(?=[_.]\w)", "X", without_file)  # the files X.mp3 and X_prompt.txt, as docs name them


def _names(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return keys[0]
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{len(keys)} songs ({', '.join(keys[:NAMED])}{more})"
