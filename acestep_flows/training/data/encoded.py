"""The folder of encoded songs: latents, tags and lyrics, written by the encode job and read in any order.

    FOLDER/encoded.json          the source of the songs, and the autoencoder that made the latents
    FOLDER/shard-00000.npy       (frames, 128) float16: the latents of all tracks of the shard's songs, end to end
    FOLDER/shard-00000.jsonl     one line per song: its tags, lyrics and other data, and where its tracks begin

Every song has the track "mix". A song with stems also has a track per stem ("vocal") and the sum of the other stems
("without vocal"). A shard's `.jsonl` is written last, and the shard exists once that file does.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.training.data.npy_file import mapped
from acestep_flows.training.loop.content_stamp import json_digest
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT, FloatArray

ABOUT = "encoded.json"
FRAME = LATENT_CHANNELS * LATENT_HEIGHT
MIX, VOCAL = "mix", "vocal"
BEAT = "beat"
"""The track of drum strokes in time with the song; see `beats`."""
WITHOUT = "without "
"""Prefix of a track's name: the mix without the stem that follows."""
REPAIR = "whole files; remove the shard, and `acestep-flows encode` encodes it again"


@dataclass(frozen=True)
class EncodedSong:
    """The description of an encoded song, and the place of its latents.

    Attributes:
        key: name of the song in its source.
        tags: in the order of the source.
        lyrics: "" for an instrumental, or where none are known.
        frames: latent frames of every track.
        tracks: first frame of each track in the shard.
        recaptions: other descriptions of the song, by kind.
        labels: instrument or style names by stem, where known.
        stamp: the source's stamp of the song when it was encoded.
        note: a warning about a song that can still be used.
    """

    key: str
    tags: tuple[str, ...]
    lyrics: str
    frames: int
    tracks: Mapping[str, int]
    recaptions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""
    note: str = ""


@dataclass(frozen=True)
class Broken:
    """A song that could not be encoded, and the reason."""

    key: str
    reason: str


@dataclass(frozen=True)
class Encoding:
    """One song before it is written into a shard: its tracks as latents (8, 16, T), all of one length."""

    song: EncodedSong
    tracks: Mapping[str, FloatArray]


class EncodedSet:
    """The encoded songs in a folder. Opening reads the `.jsonl` files; latents are memory-mapped.

    Attributes:
        folder: the folder.
        about: the content of `encoded.json`.
        songs: the usable songs, in the order of the source.
        broken: the songs that could not be encoded.

    Raises:
        InputError: the folder was not written by the encode job, has no usable song, or a shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / ABOUT).is_file():
            allowed = "a folder written by `acestep-flows encode`"
            raise InputError("no encoded songs", where=str(folder), allowed=allowed)
        self.about = read_about(folder)
        self.songs: list[EncodedSong] = []
        self.broken: list[Broken] = []
        self._shard_of: list[int] = []
        self._shards: list[NDArray[np.float16]] = []
        for listing in sorted(folder.glob("shard-*.jsonl")):
            listed = read_listing(listing)
            latents = _latents(listing, listed)
            for entry in listed:
                if isinstance(entry, Broken):
                    self.broken.append(entry)
                else:
                    self.songs.append(entry)
                    self._shard_of.append(len(self._shards))
            self._shards.append(latents)
        if not self.songs:
            reasons = "; ".join(sorted({broken.reason for broken in self.broken})[:3]) or "nothing was encoded"
            raise InputError(f"the folder holds no usable song: {reasons}", where=str(folder))

    @property
    def digest(self) -> str:
        """sha256 of all that training depends on: the latents, and what `listing_digest` covers. Reads all latents."""
        latents = hashlib.sha256()
        for song, shard in zip(self.songs, self._shard_of, strict=True):
            for first in song.tracks.values():
                latents.update(np.ascontiguousarray(self._shards[shard][first : first + song.frames]).data)
        return json_digest([self.listing_digest, latents.hexdigest()])

    @property
    def listing_digest(self) -> str:
        """sha256 of the songs as listed, the autoencoder, and its dtype. States of 0.1.0 have it as the whole."""
        encoder = [self.about.get("autoencoder"), self.about.get("dtype")]
        unused = {"stamp": "", "note": ""}  # training does not read these, nor the tracks' places in a shard
        return json_digest([encoder, [asdict(song) | unused | {"tracks": list(song.tracks)} for song in self.songs]])

    def __len__(self) -> int:
        return len(self.songs)

    def latents(self, index: int, track: str = MIX, start: int = 0, frames: int | None = None) -> FloatArray:
        """Latents (8, 16, n) of a track of song `index` from frame `start` on, in float32.

        Raises:
            InputError: the song has no such track.
        """
        song = self.songs[index]
        if track not in song.tracks:
            raise InputError(f"no track {track!r}", where=song.key, allowed=", ".join(song.tracks))
        count = song.frames - start if frames is None else min(frames, song.frames - start)
        return _cut(self._shards[self._shard_of[index]], song.tracks[track] + start, count)


def shard_path(folder: Path, number: int) -> Path:
    """The listing (`.jsonl`) of a shard. Its latents (`.npy`) are beside it."""
    return folder / f"shard-{number:05d}.jsonl"


def write_shard(folder: Path, number: int, content: Sequence[Encoding | Broken]) -> None:
    """Write one shard, its listing last. An old listing is removed first, as it would not fit the new latents.

    Raises:
        StorageError: a file cannot be written.
    """
    latents, lines = [], []
    rows = 0
    for entry in content:
        if isinstance(entry, Broken):
            lines.append(asdict(entry))
            continue
        offsets = {}
        for name, track in entry.tracks.items():
            offsets[name] = rows
            latents.append(track.reshape(FRAME, -1).T.astype(np.float16))
            rows += entry.song.frames
        lines.append(asdict(entry.song) | {"tracks": offsets})
    frames = np.concatenate(latents) if latents else np.zeros((0, FRAME), np.float16)
    buffer = io.BytesIO()
    np.save(buffer, frames)
    listing = shard_path(folder, number)
    listing.unlink(missing_ok=True)
    storage.write(listing.with_suffix(".npy"), buffer.getbuffer())
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    storage.write(listing, text.encode("utf-8", "surrogatepass"))


def read_about(folder: Path) -> dict[str, Any]:
    """The content of the folder's `encoded.json`: source, autoencoder, dtype, songs and shard size.

    Raises:
        InputError: the file cannot be read.
    """
    file = folder / ABOUT
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"damaged: {error}", where=str(file), allowed=REPAIR) from None


def read_listing(listing: Path) -> list[EncodedSong | Broken]:
    """The songs of a shard, with those that could not be encoded, in the order of the source.

    Raises:
        InputError: the listing is damaged.
    """
    try:
        text = listing.read_bytes().decode("utf-8", "surrogatepass")
        return [_entry(json.loads(line)) for line in text.split("\n") if line]  # lyrics may hold other line ends
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"damaged: {error}", where=str(listing), allowed=REPAIR) from None


def read_shard(folder: Path, number: int) -> list[Encoding | Broken]:
    """Read a shard back in the form that `write_shard` takes. Latents were rounded to float16.

    Raises:
        InputError: the shard is damaged.
    """
    listing = shard_path(folder, number)
    listed = read_listing(listing)
    frames = _latents(listing, listed)
    return [
        entry
        if isinstance(entry, Broken)
        else Encoding(entry, {name: _cut(frames, first, entry.frames) for name, first in entry.tracks.items()})
        for entry in listed
    ]


def entries(folder: Path) -> Iterator[EncodedSong | Broken]:
    """All songs that the folder lists, broken ones too, without opening any latents."""
    for listing in sorted(folder.glob("shard-*.jsonl")):
        yield from read_listing(listing)


def _entry(line: Mapping[str, Any]) -> EncodedSong | Broken:
    if "reason" in line:
        return Broken(**line)
    tracks, frames = {name: int(first) for name, first in line["tracks"].items()}, int(line["frames"])
    if frames < 0 or min(tracks.values(), default=0) < 0:
        raise ValueError(f"a track of {frames} frames from {min(tracks.values(), default=0)} on")
    return EncodedSong(**{**line, "tags": tuple(line["tags"]), "frames": frames, "tracks": tracks})


def _latents(listing: Path, listed: Sequence[EncodedSong | Broken]) -> NDArray[np.float16]:
    """The latents (frames, 128) beside a listing, memory-mapped.

    Raises:
        InputError: they are damaged, or fewer than the listing needs.
    """
    file = listing.with_suffix(".npy")
    try:
        frames = mapped(file)
    except (OSError, ValueError) as error:
        raise InputError(f"damaged: {error}", where=str(file), allowed=REPAIR) from None
    songs = (entry for entry in listed if isinstance(entry, EncodedSong))
    needed = max((first + song.frames for song in songs for first in song.tracks.values()), default=0)
    if frames.dtype != np.float16 or frames.ndim != 2 or frames.shape[1] != FRAME or len(frames) < needed:
        what = f"damaged: {frames.dtype} of shape {list(frames.shape)} in place of float16 [{needed}, {FRAME}]"
        raise InputError(what, where=str(file), allowed=REPAIR)
    return frames


def _cut(frames: NDArray[np.float16], first: int, count: int) -> FloatArray:
    """Frames `first` to `first + count` (exclusive) of (n, 128), as latents (8, 16, count) in float32."""
    cut = np.asarray(frames[first : first + count], np.float32)
    return np.ascontiguousarray(cut.T).reshape(LATENT_CHANNELS, LATENT_HEIGHT, count)
