"""The `compare` command: two songs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acestep_flows.cli.json_output import json_option, print_json
from acestep_flows.cli.options import FILE, png_option, print_lines

if TYPE_CHECKING:
    from acestep_flows.audio.locality import Change
    from acestep_flows.recipes.comparison import ComparedSong, SongComparison

SAME, NOT_SILENT = "the same", "A is silent"
NANO_PHASES = (
    "acestep-nano's decoder makes new phases for every song, so these levels of sound say little; those of latents "
    "count (run --keep latents)"
)


@click.command()
@click.argument("first", metavar="A", type=FILE)
@click.argument("second", metavar="B", type=FILE)
@png_option
@json_option
def compare(first: Path, second: Path, png: Path | None, as_json: bool) -> None:
    """Compare songs A and B: whether they are the same, how loud they differ in each second, how their recipes do.

    A and B are audio files, latents (.safetensors) or recipes (.json) of runs.
    """
    from acestep_flows.recipes.comparison import compare_songs, read_song

    comparison = compare_songs(read_song(first, "A"), read_song(second, "B"))
    if png is not None:
        _write_picture(comparison, png)
    if as_json:
        print_json(_content(comparison))
    else:
        print_lines(comparison_lines(comparison))
        print_lines([png] if png is not None else [])


def comparison_lines(comparison: SongComparison) -> Iterator[str]:
    """A comparison as lines for people."""
    first, second = comparison.first, comparison.second
    yield f"A  {_facts(first)}"
    yield f"B  {_facts(second)}"
    what = "samples" if first.value.kind == "audio" else "latents"
    yield f"{what}: {SAME if comparison.same else 'not the same'}"
    if abs(comparison.added) >= 0.001:
        yield f"length: B is {abs(comparison.added):.2f} s {'longer' if comparison.added > 0 else 'shorter'}"
    if not comparison.same:
        yield "difference, over the level of A:"
        yield from (f"  {line}" for line in _levels(comparison.changes))
        if comparison.latent_changes:
            yield "difference of the latents beside them:"
            yield from (f"  {line}" for line in _levels(comparison.latent_changes))
        if _is_of_nano(comparison):
            yield NANO_PHASES
    if comparison.differences is None:
        without = " and ".join(name for name, song in (("A", first), ("B", second)) if song.recipe is None)
        yield f"recipes: {without} {'have' if ' ' in without else 'has'} none"
    elif not comparison.differences:
        yield f"recipes: {SAME}"
    else:
        yield "recipes, A | B:"
        yield from (f"  {line}" for line in comparison.differences)


def _is_of_nano(comparison: SongComparison) -> bool:
    """Whether acestep-nano made the sound of one of two songs."""
    from acestep_flows.model.embedded import NAME

    songs = (comparison.first, comparison.second)
    return any(song.value.kind == "audio" and song.own is not None and song.own.model == NAME for song in songs)


def _facts(song: ComparedSong) -> str:
    value, rate = song.value, getattr(song.value, "sample_rate", None)
    channels = getattr(value, "channels", 0)
    sound = f", {rate / 1000:g} kHz, {channels} channel{'' if channels == 1 else 's'}" if rate else ""
    return f"{song.file}: {value.kind}, {value.seconds:.2f} s{sound}, digest {value.digest[:16]}"


def _levels(changes: Sequence[Change]) -> Iterator[str]:
    """One line for seconds in a row that differ alike."""
    begun, rows = 0.0, []
    for change in changes:
        rows.append((begun, begun + change.seconds, _level(change)))
        begun += change.seconds
    for level, group in groupby(rows, key=lambda row: row[2]):
        parts = list(group)
        yield f"{parts[0][0]:g} to {parts[-1][1]:.4g} s: {level}"


def _level(change: Change) -> str:
    if change.rms == 0:
        return SAME
    return NOT_SILENT if change.decibels is None else f"{round(change.decibels)} dB"


def _content(comparison: SongComparison) -> dict[str, Any]:
    """A comparison as JSON."""

    def song(one: ComparedSong) -> dict[str, Any]:
        known = {"file": str(one.file), "kind": one.value.kind, "digest": one.value.digest}
        return known | {"seconds": one.value.seconds, "graph": one.recipe.graph if one.recipe is not None else None}

    return {
        "same": comparison.same,
        "a": song(comparison.first),
        "b": song(comparison.second),
        "by_second": [asdict(change) for change in comparison.changes],
        "latents_by_second": [asdict(change) for change in comparison.latent_changes],
        "recipe_differences": None if comparison.differences is None else list(comparison.differences),
    }


def _write_picture(comparison: SongComparison, path: Path) -> None:
    from acestep_flows import storage
    from acestep_flows.audio import comparison_picture
    from acestep_flows.values import Audio

    waves = [song.value if isinstance(song.value, Audio) else None for song in (comparison.first, comparison.second)]
    storage.write(path, comparison_picture.png(waves[0], waves[1], comparison.changes))
