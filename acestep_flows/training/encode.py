"""Encode songs once, so that training reads latents: every track of every song through the `encode_audio` stage.

    encode(recipe, folder)      shard by shard; what is there is kept, so an interrupted run goes on

A song that cannot be used is listed with its reason in the shard, and never stops the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from acestep_flows import storage
from acestep_flows.errors import FlowsError, InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Dtype, Placement
from acestep_flows.stages.encode_audio import EncodeAudio
from acestep_flows.training.data.encoded import ABOUT, Broken, EncodedSong, Encoding, shard_path, write_shard
from acestep_flows.training.data.sources import Song, SourceSettings, open_source
from acestep_flows.training.precision import Precision, bfloat16_pays
from acestep_flows.training.recipe import Section, problems, read_recipe
from acestep_flows.values import FloatArray

SHARD = 64
"""Songs of a shard."""
DEVICE = "cpu"
"""Where encoders run: processes for all cores keep up with the readers of songs."""

Report = Callable[[int, int, int], None]
"""Told after each shard: songs done, songs in all, songs broken so far."""


class EncodeRecipe(Section):
    """What is encoded, and with which autoencoder."""

    kind: Literal["encode"] = "encode"
    checkpoint: Path = Field(description="The checkpoint whose autoencoder encodes.")
    source: Annotated[SourceSettings, Field(discriminator="kind")]
    dtype: Precision = Field(
        "auto", description="Compute dtype of the encoder. auto: bfloat16 where the device is fast at it."
    )

    def numerics(self, device: str) -> Dtype:
        """The dtype that it means on `device`."""
        return "bfloat16" if bfloat16_pays(device, self.dtype) else "float32"


def load_encode_recipe(name: str, assignments: Sequence[str] = ()) -> EncodeRecipe:
    """The recipe called `name`, a preset or a YAML file; see `recipe.load_recipe`."""
    try:
        return EncodeRecipe.model_validate(read_recipe(name, assignments))
    except ValidationError as error:
        raise InputError(problems(error), where=name) from None


class Encoder:
    """Encodes songs of one source with one checkpoint; a process has one."""

    def __init__(self, recipe: EncodeRecipe, device: str = DEVICE) -> None:
        self.source = open_source(recipe.source)
        self._stage = EncodeAudio()
        self._stage.load(Checkpoint.open(recipe.checkpoint), Placement(device, recipe.numerics(device)))

    def shard(self, number: int) -> list[Encoding | Broken]:
        """The songs of shard `number`."""
        first = number * SHARD
        return [self.song(index) for index in range(first, min(first + SHARD, len(self.source)))]

    def song(self, index: int) -> Encoding | Broken:
        """One song, or why not."""
        key = self.source.key(index)
        try:
            song = self.source.song(index)
            return self._encode(song)
        except FlowsError as error:
            return Broken(key, str(error))

    def _encode(self, song: Song) -> Encoding:
        tracks: dict[str, FloatArray] = {}
        items = [EncodeAudio.In(audio) for audio in song.tracks.values()]
        outs = self._stage.run(items, [EncodeAudio.Params()] * len(items))
        for name, out in zip(song.tracks, outs, strict=True):
            if isinstance(out, Exception):
                raise out
            tracks[name] = out.latents.array
        if len({track.shape[-1] for track in tracks.values()}) > 1:
            raise InputError("its tracks differ in length", where=song.key)
        frames = next(iter(tracks.values())).shape[-1]
        if not all(np.isfinite(track).all() for track in tracks.values()):
            raise InputError("its latents are not finite", where=song.key)
        about = EncodedSong(
            song.key, song.tags, song.lyrics, frames, dict.fromkeys(tracks, 0), song.recaptions, song.labels
        )
        return Encoding(about, tracks)


def encode(recipe: EncodeRecipe, folder: Path, *, workers: int = 0, report: Report = lambda *_: None) -> None:
    """Encode the whole source into `folder`; shards that are there are kept.

    Args:
        workers: processes of Ray Data; 0 works in this process.

    Raises:
        InputError: `folder` was made from another source or with another autoencoder.
        StorageError: it cannot be written to.
    """
    songs = len(open_source(recipe.source))
    _claim(recipe, folder, songs)
    shards = -(-songs // SHARD)
    missing = [number for number in range(shards) if not shard_path(folder, number).is_file()]
    broken, done = 0, songs - sum(min(SHARD, songs - number * SHARD) for number in missing)
    if workers:
        from acestep_flows.training.encode_ray import encode_shards

        finished = encode_shards(recipe, folder, missing, workers)
    else:
        finished = _here(recipe, folder, missing) if missing else iter(())
    for count, bad in finished:
        done, broken = done + count, broken + bad
        report(done, songs, broken)


def encode_shard(encoder: Encoder, folder: Path, number: int) -> tuple[int, int]:
    """Encode and write one shard; gives how many songs it has, and how many of them are broken."""
    content = encoder.shard(number)
    write_shard(folder, number, content)
    return len(content), sum(isinstance(entry, Broken) for entry in content)


def _here(recipe: EncodeRecipe, folder: Path, missing: list[int]) -> Iterator[tuple[int, int]]:
    encoder = Encoder(recipe)
    for number in missing:
        yield encode_shard(encoder, folder, number)


def _claim(recipe: EncodeRecipe, folder: Path, songs: int) -> None:
    """Write what the folder is made from, or compare with what stands there."""
    checkpoint = Checkpoint.open(recipe.checkpoint)
    about = {
        "songs": songs,
        "source": recipe.source.model_dump(mode="json"),
        "autoencoder": checkpoint.digest("music_dcae_f8c8"),
        "dtype": recipe.numerics(DEVICE),
    }
    file = folder / ABOUT
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        differing = [key for key in about if found.get(key) != about[key]]
        if differing:
            what = f"was encoded from another {', '.join(differing)}"
            raise InputError(what, where=str(folder), allowed="another folder, or this one emptied")
        return
    storage.write(file, (json.dumps(about, indent=2) + "\n").encode())
