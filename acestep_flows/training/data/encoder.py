"""Encode the songs of one shard: every track of every song goes through the `encode_audio` stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from acestep_flows.errors import Cancelled, FlowsError, InputError
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
from acestep_flows.training.loop.precision import Precision, choose_dtype
from acestep_flows.training.loop.recipe import RecipeSection
from acestep_flows.values import FloatArray
from acestep_flows.weights.choose import open_named

SHARD = 64
"""Most songs in a shard."""
DEVICE = "cpu"
StopCheck = Callable[[], bool]
"""Whether the user has asked to stop."""


class EncodeRecipe(RecipeSection):
    """Which songs are encoded, and with which autoencoder."""

    kind: Literal["encode"] = "encode"
    checkpoint: Path = Field(description="The checkpoint whose autoencoder encodes the songs.")
    source: Annotated[SourceSettings, Field(discriminator="kind")]
    dtype: Precision = Field(
        "auto", description="Compute dtype of the encoder. auto: bfloat16 where the device is fast at it."
    )


class Encoder:
    """Encodes the songs of one source with one checkpoint's autoencoder. A process has one encoder.

    Args:
        device: where the autoencoder runs.
        size: songs per shard.

    Raises:
        InputError: the source cannot be opened.
        CheckpointError: the checkpoint has no usable autoencoder.
    """

    def __init__(self, recipe: EncodeRecipe, device: str = DEVICE, size: int = SHARD) -> None:
        self.source = open_source(recipe.source)
        self._size = size
        checkpoint = open_named(recipe.checkpoint)
        self._stage = EncodeAudio()
        self._stage.load(checkpoint, Placement(device, choose_dtype(device, recipe.dtype)))
        self._lyrics = LyricTokenizer(checkpoint.lyric_vocab) if checkpoint.has_lyric_vocab else None

    def shard(
        self, number: int, existing: Sequence[Encoding | Broken] = (), stop_requested: StopCheck = lambda: False
    ) -> list[Encoding | Broken]:
        """Encode the songs of shard `number`.

        Args:
            existing: the shard's songs from an earlier run. Only the broken ones are encoded again.
            stop_requested: checked before every song.

        Raises:
            Cancelled: the user asked to stop.
        """
        first = number * self._size
        songs: list[Encoding | Broken] = []
        for index in range(first, min(first + self._size, len(self.source))):
            if stop_requested():
                raise Cancelled("stopped between two songs")
            former = existing[index - first] if existing else None
            songs.append(former if isinstance(former, Encoding) else self.song(index))
        return songs

    def song(self, index: int) -> Encoding | Broken:
        """Encode one song. Any fault of the song makes it `Broken`."""
        key = self.source.key(index)
        try:
            stamp = self.source.stamp(index)  # before it is read: a change in between shows the next time
            return self._encode(self.source.song(index), stamp)
        except FlowsError as error:
            return Broken(key, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of one song never stops the others
            return Broken(key, f"{type(error).__name__}: {error}")

    def _encode(self, song: Song, stamp: str) -> Encoding:
        tracks: dict[str, FloatArray] = {}
        items = [EncodeAudio.In(audio) for audio in song.tracks.values()]
        outputs = self._stage.run(items, [EncodeAudio.Params()] * len(items))
        for name, output in zip(song.tracks, outputs, strict=True):
            if isinstance(output, Exception):
                raise output
            tracks[name] = output.latents.array
        if len({track.shape[-1] for track in tracks.values()}) > 1:
            raise InputError("the tracks of the song differ in length", where=song.key)
        frames = next(iter(tracks.values())).shape[-1]
        if not all(np.isfinite(track).all() for track in tracks.values()):
            raise InputError("the latents of the song are not finite", where=song.key)
        encoded = EncodedSong(
            song.key, song.tags, song.lyrics, frames, dict.fromkeys(tracks, 0), song.recaptions, song.labels, stamp
        )
        return Encoding(replace(encoded, note=self._note(song.lyrics)), tracks)

    def _note(self, lyrics: str) -> str:
        """Why training cannot tokenise `lyrics` and treats the song as one without; "" where it can."""
        try:
            if self._lyrics is not None and lyrics:
                self._lyrics.training_ids(lyrics, compatibility="corrected")
        except FlowsError as error:
            return f"the lyrics cannot be tokenised as in training and are ignored: {error}"
        return ""


def encode_shard(
    encoder: Encoder, folder: Path, number: int, stop_requested: StopCheck = lambda: False
) -> tuple[int, int]:
    """Encode the missing songs of one shard and write it. Returns its number of songs and of broken ones.

    Raises:
        Cancelled: the user asked to stop; nothing is written.
        InputError: the existing shard is damaged.
        StorageError: the shard cannot be written.
    """
    existing = read_shard(folder, number) if shard_path(folder, number).is_file() else []
    songs = encoder.shard(number, existing, stop_requested)
    if not existing or _count_usable(songs) > _count_usable(existing):
        write_shard(folder, number, songs)
    return len(songs), len(songs) - _count_usable(songs)


def _count_usable(songs: Sequence[Encoding | Broken]) -> int:
    return sum(isinstance(song, Encoding) for song in songs)
