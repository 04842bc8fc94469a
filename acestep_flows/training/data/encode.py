"""The encode job: turn all songs of a source into latents once, so that training only reads.

    encode(recipe, folder)      shard by shard; finished shards are kept, so an interrupted job can be continued

A song that cannot be used never stops the others: the shard lists it with the reason, and the next run of the job
tries it again. Songs that are already encoded must not have changed since.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from acestep_flows import storage
from acestep_flows.errors import Cancelled, InputError
from acestep_flows.optional_packages import require
from acestep_flows.training.data.encoded import (
    ABOUT,
    REPAIR,
    Broken,
    EncodedSong,
    read_about,
    read_listing,
    shard_path,
)
from acestep_flows.training.data.encoder import DEVICE, SHARD, Encoder, EncodeRecipe, StopCheck, encode_shard
from acestep_flows.training.data.song import SongSource
from acestep_flows.training.data.sources import SourceSettings, open_source
from acestep_flows.training.loop.precision import choose_dtype
from acestep_flows.training.loop.recipe import read_recipe
from acestep_flows.training.loop.stopping import stop_requests
from acestep_flows.weights.choose import open_named
from acestep_flows.wording.faults import fault_line

log = logging.getLogger(__name__)

TURNS = 4
"""Least shards per process where songs are few, so that all processes have work until near the end."""

OTHER = "another folder, or this one after its files are removed"

Report = Callable[[int, int, int], None]
"""Called after each shard with the songs done, the songs in all, and the broken songs so far."""


def load_encode_recipe(name: str, assignments: Sequence[str] = ()) -> EncodeRecipe:
    """Read an encode recipe.

    Args:
        name: a preset's name, or the path of a YAML file.
        assignments: changes of single values, for example `source.count=100`.

    Raises:
        InputError: there is no such recipe, it is not YAML, a key is unknown, or a value is out of range.
    """
    content = read_recipe(name, assignments)
    _leave_out_of_another_kind(content, assignments)
    try:
        return EncodeRecipe.model_validate(content)
    except ValidationError as error:
        raise InputError(fault_line(error, EncodeRecipe), where=name) from None


def _leave_out_of_another_kind(content: dict[str, Any], assignments: Sequence[str]) -> None:
    """Leave out what a recipe says of its own kind of source, where `source.kind=` sets another one: as was asked."""
    source, assigned = content.get("source"), [assignment.partition("=")[0] for assignment in assignments]
    kinds = {kind.model_fields["kind"].default: kind for kind in get_args(SourceSettings)}
    if "source.kind" not in assigned or not isinstance(source, dict) or source.get("kind") not in kinds:
        return
    known = kinds[source["kind"]].model_fields
    stale = [key for key in source if key not in known and f"source.{key}" not in assigned]
    for key in stale:
        del source[key]
    if stale:
        log.info("a source of kind %s has no %s: left out", source["kind"], ", ".join(stale))


def encode(
    recipe: EncodeRecipe,
    folder: Path,
    *,
    workers: int = 0,
    device: str = DEVICE,
    report: Report = lambda *_: None,
) -> None:
    """Encode the whole source into `folder`. Encoded songs are kept; broken ones are tried again.

    Args:
        workers: processes of Ray Data; 0 works in this process.
        device: where encoders run. With workers and cuda, each worker has a GPU of its own.
        report: called after each shard.

    Raises:
        InputError: `folder` was made from another source or with another autoencoder, or is damaged.
        StorageError: `folder` cannot be written to.
        Cancelled: the user asked to stop (ctrl-C, SIGTERM); the same call goes on.
    """
    if workers:
        require("bulk", "--workers")
    with stop_requests() as stop_requested:
        source = open_source(recipe.source)
        songs = len(source)
        size = _prepare_folder(recipe, folder, source, device, _shard_size(songs, workers))
        missing = [number for number in range(-(-songs // size)) if not _complete(folder, number)]
        done, broken = songs - sum(min(size, songs - number * size) for number in missing), 0
        counts: Iterator[tuple[int, int]] = iter(())
        if missing and workers:
            from acestep_flows.training.data.encode_ray import encode_shards

            counts = encode_shards(recipe, folder, missing, size, workers, device, stop_requested)
        elif missing:
            counts = _encode_locally(folder, missing, Encoder(recipe, device, size), stop_requested)
        try:
            for shard_songs, shard_broken in counts:
                done, broken = done + shard_songs, broken + shard_broken
                report(done, songs, broken)
        except Cancelled:
            raise Cancelled(f"stopped after {done} of {songs} songs; the same command goes on") from None


def _encode_locally(
    folder: Path, missing: list[int], encoder: Encoder, stop_requested: StopCheck
) -> Iterator[tuple[int, int]]:
    for number in missing:
        yield encode_shard(encoder, folder, number, stop_requested)


def _shard_size(songs: int, workers: int) -> int:
    """Songs per shard in a new folder."""
    return max(1, min(SHARD, -(-songs // (TURNS * workers)))) if workers else SHARD


def _complete(folder: Path, number: int) -> bool:
    """Whether a shard exists and none of its songs is broken."""
    listing = shard_path(folder, number)
    return listing.is_file() and not any(isinstance(entry, Broken) for entry in read_listing(listing))


def _prepare_folder(recipe: EncodeRecipe, folder: Path, source: SongSource, device: str, size: int) -> int:
    """Write `encoded.json`, or check that an existing one fits the recipe. Returns the songs per shard.

    Raises:
        InputError: the folder was made from something else, or is damaged.
    """
    checkpoint = open_named(recipe.checkpoint)
    about: dict[str, Any] = {
        "songs": len(source),
        "source": recipe.source.model_dump(mode="json"),
        "autoencoder": checkpoint.digest("music_dcae_f8c8"),
        "dtype": choose_dtype(device, recipe.dtype),
        "shard": size,
    }
    if (folder / ABOUT).is_file():
        former = read_about(folder)
        former_size: Any = former.setdefault("shard", SHARD)  # older folders lack the field
        if not isinstance(former_size, int) or former_size < 1:
            raise InputError(f"damaged: shards of {former_size!r}", where=str(folder / ABOUT), allowed=REPAIR)
        size = about["shard"] = former_size
        differing = [key for key in about if key != "source" and former.get(key) != about[key]]
        _add_defaults(former.get("source"), recipe.source)
        moved = former.get("source") != about["source"]
        if moved and (not _same_but_for_path(former.get("source"), about["source"]) or not _all_stamped(folder)):
            differing.append("source")
        if differing:
            what = f"the folder was encoded with another {', '.join(differing)}"
            raise InputError(what, where=str(folder), allowed=OTHER)
        _check_songs(folder, source, size)
        if not moved:
            return size
    storage.write(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
    return size


def _add_defaults(former: Any, source: SourceSettings) -> None:
    """Give the settings `former` of an older folder the defaults of settings that are newer than it."""
    if isinstance(former, dict):
        for name, field in type(source).model_fields.items():
            if not field.is_required():
                former.setdefault(name, field.get_default(call_default_factory=True))


def _same_but_for_path(former: Any, current: dict[str, Any]) -> bool:
    return isinstance(former, dict) and "path" in current and {**former, "path": ""} == {**current, "path": ""}


def _all_stamped(folder: Path) -> bool:
    """Whether every encoded song has a stamp, so that a moved source can be compared."""
    listings = folder.glob("shard-*.jsonl")
    return all(isinstance(song, Broken) or song.stamp for listing in listings for song in read_listing(listing))


def _check_songs(folder: Path, source: SongSource, size: int) -> None:
    """Refuse a folder whose songs are not those of the source, or have changed since they were encoded."""
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
                what = f"song {index} is {entry.key!r} here and {source.key(index)!r} in the source"
                raise InputError(what, where=str(folder), allowed=OTHER)
            if isinstance(entry, EncodedSong) and entry.stamp and not source.has_stamp(index, entry.stamp):
                changed.append(entry.key)
    if changed:
        more = f" and {len(changed) - 3} more" if changed[3:] else ""
        what = f"songs have changed since they were encoded: {', '.join(changed[:3])}{more}"
        raise InputError(what, where=str(folder), allowed=OTHER)
