"""Encode songs once, so that training reads latents: every track of every song through the `encode_audio` stage.

    encode(recipe, folder)      shard by shard; what is there is kept, so an interrupted run goes on

A song that cannot be used is listed with its reason in the shard, and never stops the others; when the job is run
again it is tried again. Songs that were encoded must still be what they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from acestep_flows import storage
from acestep_flows.errors import Cancelled, InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.training.data.encoded import (
    ABOUT,
    REPAIR,
    Broken,
    EncodedSong,
    read_about,
    read_listing,
    shard_path,
)
from acestep_flows.training.data.encoder import DEVICE, SHARD, Asked, Encoder, EncodeRecipe, encode_shard
from acestep_flows.training.data.song import SongSource
from acestep_flows.training.data.sources import open_source
from acestep_flows.training.loop.precision import chosen
from acestep_flows.training.loop.recipe import problems, read_recipe
from acestep_flows.training.loop.stopping import stop_requests

TURNS = 4
"""Shards for each of several processes, where songs are few: so that all have work until near the end."""

OTHER = "another folder, or this one emptied"

Report = Callable[[int, int, int], None]
"""Told after each shard: songs done, songs in all, songs broken so far."""


def load_encode_recipe(name: str, assignments: Sequence[str] = ()) -> EncodeRecipe:
    """The recipe called `name`, a preset or a YAML file; see `recipe.load_recipe`."""
    try:
        return EncodeRecipe.model_validate(read_recipe(name, assignments))
    except ValidationError as error:
        raise InputError(problems(error), where=name) from None


def encode(
    recipe: EncodeRecipe,
    folder: Path,
    *,
    workers: int = 0,
    device: str = DEVICE,
    report: Report = lambda *_: None,
) -> None:
    """Encode the whole source into `folder`; songs that are there are kept, broken ones tried again.

    Args:
        workers: processes of Ray Data; 0 works in this process.
        device: where encoders run; with workers and cuda each has a GPU of its own.

    Raises:
        InputError: `folder` was made from another source or with another autoencoder, or is damaged.
        StorageError: it cannot be written to.
        Cancelled: somebody asked to stop (ctrl-C, SIGTERM); the same call goes on.
    """
    with stop_requests() as asked:
        source = open_source(recipe.source)
        songs = len(source)
        size = _claim(recipe, folder, source, device, _size(songs, workers))
        missing = [number for number in range(-(-songs // size)) if not _whole(folder, number)]
        done, broken = songs - sum(min(size, songs - number * size) for number in missing), 0
        finished: Iterator[tuple[int, int]] = iter(())
        if missing and workers:
            from acestep_flows.training.data.encode_ray import encode_shards

            finished = encode_shards(recipe, folder, missing, size, workers, device, asked)
        elif missing:
            finished = _here(folder, missing, Encoder(recipe, device, size), asked)
        try:
            for count, bad in finished:
                done, broken = done + count, broken + bad
                report(done, songs, broken)
        except Cancelled:
            raise Cancelled(f"stopped after {done} of {songs} songs; the same command goes on") from None


def _here(folder: Path, missing: list[int], encoder: Encoder, asked: Asked) -> Iterator[tuple[int, int]]:
    for number in missing:
        yield encode_shard(encoder, folder, number, asked)


def _size(songs: int, workers: int) -> int:
    """Songs of a shard, in a folder that is begun."""
    return max(1, min(SHARD, -(-songs // (TURNS * workers)))) if workers else SHARD


def _whole(folder: Path, number: int) -> bool:
    """Whether a shard is there, and no song of it is broken."""
    listing = shard_path(folder, number)
    return listing.is_file() and not any(isinstance(entry, Broken) for entry in read_listing(listing))


def _claim(recipe: EncodeRecipe, folder: Path, source: SongSource, device: str, size: int) -> int:
    """Write what the folder is made from, or compare with what stands there; gives the songs of a shard."""
    checkpoint = Checkpoint.open(recipe.checkpoint)
    about: dict[str, Any] = {
        "songs": len(source),
        "source": recipe.source.model_dump(mode="json"),
        "autoencoder": checkpoint.digest("music_dcae_f8c8"),
        "dtype": chosen(device, recipe.dtype),
        "shard": size,
    }
    if (folder / ABOUT).is_file():
        found = read_about(folder)
        there: Any = found.setdefault("shard", SHARD)  # which older folders do not say
        if not isinstance(there, int) or there < 1:
            raise InputError(f"damaged: shards of {there!r}", where=str(folder / ABOUT), allowed=REPAIR)
        size = about["shard"] = there
        differing = [key for key in about if key != "source" and found.get(key) != about[key]]
        moved = found.get("source") != about["source"]
        if moved and (not _same_but_for_path(found.get("source"), about["source"]) or not _stamped(folder)):
            differing.append("source")
        if differing:
            what = f"was encoded from another {', '.join(differing)}"
            raise InputError(what, where=str(folder), allowed=OTHER)
        _check_songs(folder, source, size)
        if not moved:
            return size
    storage.write(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
    return size


def _same_but_for_path(before: Any, now: dict[str, Any]) -> bool:
    return isinstance(before, dict) and "path" in now and {**before, "path": ""} == {**now, "path": ""}


def _stamped(folder: Path) -> bool:
    """Whether the folder says of every song what it was made from."""
    listings = folder.glob("shard-*.jsonl")
    return all(isinstance(song, Broken) or song.stamp for listing in listings for song in read_listing(listing))


def _check_songs(folder: Path, source: SongSource, size: int) -> None:
    """Refuse a folder whose songs are not the source's, or were other ones when they were encoded."""
    changed = []
    for number in range(-(-len(source) // size)):
        if not shard_path(folder, number).is_file():
            continue
        listing, first = shard_path(folder, number), number * size
        listed = read_listing(listing)
        if len(listed) != min(size, len(source) - first):
            raise InputError(f"damaged: {len(listed)} songs", where=str(listing), allowed=REPAIR)
        for index, entry in enumerate(listed, start=first):
            if entry.key != source.key(index):
                raise InputError(f"song {index} is {entry.key!r}, not the source's", where=str(folder), allowed=OTHER)
            if isinstance(entry, EncodedSong) and entry.stamp not in ("", source.stamp(index)):
                changed.append(entry.key)
    if changed:
        more = f" and {len(changed) - 3} more" if changed[3:] else ""
        what = f"its songs have changed since they were encoded: {', '.join(changed[:3])}{more}"
        raise InputError(what, where=str(folder), allowed=OTHER)
