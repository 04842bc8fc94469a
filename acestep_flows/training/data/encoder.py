"""Encode the songs of one shard with one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from acestep_flows.errors import Cancelled, FlowsError, InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.stages.encode_audio import EncodeAudio
from acestep_flows.text.lyrics import LyricTokenizer
from acestep_flows.training.data.encoded import (
    Broken,
    EncodedSong,
    Encoding,
    read_shard,
    shard_path,
    write_shard,
)
from acestep_flows.training.data.song import Song
from acestep_flows.training.data.sources import SourceSettings, open_source
from acestep_flows.training.loop.precision import Precision, chosen
from acestep_flows.training.loop.recipe import RecipeSection
from acestep_flows.values import FloatArray

SHARD = 64
"""Songs of a shard at most."""
DEVICE = "cpu"
Asked = Callable[[], bool]


class EncodeRecipe(RecipeSection):
    """What is encoded, and with which autoencoder."""

    kind: Literal["encode"] = "encode"
    checkpoint: Path = Field(description="The checkpoint whose autoencoder encodes.")
    source: Annotated[SourceSettings, Field(discriminator="kind")]
    dtype: Precision = Field(
        "auto", description="Compute dtype of the encoder. auto: bfloat16 where the device is fast at it."
    )


class Encoder:
    """Encodes songs of one source with one checkpoint; a process has one.

    Args:
        size: songs of a shard.
    """

    def __init__(self, recipe: EncodeRecipe, device: str = DEVICE, size: int = SHARD) -> None:
        self.source = open_source(recipe.source)
        self._size = size
        checkpoint = Checkpoint.open(recipe.checkpoint)
        self._stage = EncodeAudio()
        self._stage.load(checkpoint, Placement(device, chosen(device, recipe.dtype)))
        self._lyrics = LyricTokenizer(checkpoint.lyric_vocab) if checkpoint.has_lyric_vocab else None

    def shard(
        self, number: int, kept: Sequence[Encoding | Broken] = (), asked: Asked = lambda: False
    ) -> list[Encoding | Broken]:
        """The songs of shard `number`.

        Args:
            kept: what is there of it: only broken songs are tried again.
            asked: whether somebody wants to stop.

        Raises:
            Cancelled: somebody does.
        """
        first = number * self._size
        made: list[Encoding | Broken] = []
        for index in range(first, min(first + self._size, len(self.source))):
            if asked():
                raise Cancelled("stopped between two songs")
            there = kept[index - first] if kept else None
            made.append(there if isinstance(there, Encoding) else self.song(index))
        return made

    def song(self, index: int) -> Encoding | Broken:
        """One song, or why not."""
        key = self.source.key(index)
        try:
            return self._encode(self.source.song(index), self.source.stamp(index))
        except FlowsError as error:
            return Broken(key, str(error))
        except Exception as error:  # noqa: BLE001 whatever is wrong with one song, the others are encoded
            return Broken(key, f"{type(error).__name__}: {error}")

    def _encode(self, song: Song, stamp: str) -> Encoding:
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
            song.key, song.tags, song.lyrics, frames, dict.fromkeys(tracks, 0), song.recaptions, song.labels, stamp
        )
        return Encoding(replace(about, note=self._note(song.lyrics)), tracks)

    def _note(self, lyrics: str) -> str:
        """Why `lyrics` cannot be told to a model, which then learns the song as one without; else ""."""
        try:
            if self._lyrics is not None and lyrics:
                self._lyrics.training_ids(lyrics, compatibility="corrected")
        except FlowsError as error:
            return f"its lyrics cannot be tokenised as in training, and count as none: {error}"
        return ""


def encode_shard(encoder: Encoder, folder: Path, number: int, asked: Asked = lambda: False) -> tuple[int, int]:
    """Encode and write what lacks of one shard; gives how many songs it has, and how many of them are broken."""
    kept = read_shard(folder, number) if shard_path(folder, number).is_file() else []
    content = encoder.shard(number, kept, asked)
    if not kept or _usable(content) > _usable(kept):
        write_shard(folder, number, content)
    return len(content), len(content) - _usable(content)


def _usable(content: Sequence[Encoding | Broken]) -> int:
    return sum(isinstance(entry, Encoding) for entry in content)
