"""Songs as the diffusion model learns them: latents, tags and lyrics, encoded once and read at random.

    FOLDER/encoded.json          where they come from, and which autoencoder made the latents
    FOLDER/shard-00000.npy       (frames, 128) float16: the latents of all tracks of the shard's songs, end to end
    FOLDER/shard-00000.jsonl     one line per song: what is known of it, and where its tracks begin

A song has at least the track "mix"; with stems it also has each of them ("vocal") and what the rest sounds like
("without vocal"). A shard counts once its `.jsonl` is there, which is written last.
"""

from __future__ import annotations

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
from acestep_flows.training.loop.content_stamp import joined
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT, FloatArray

ABOUT = "encoded.json"
FRAME = LATENT_CHANNELS * LATENT_HEIGHT
MIX = "mix"
WITHOUT = "without "
"""Begins the name of a track that is the mix less one stem."""
REPAIR = "whole files; a shard that is removed is encoded again by `acestep-flows encode`"


@dataclass(frozen=True)
class EncodedSong:
    """What is known of a song, and where its latents are.

    Attributes:
        key: names it among its kind.
        tags: in the order given.
        lyrics: "" for an instrumental, or where none are known.
        frames: latent frames of every track.
        tracks: first frame of each track in the shard.
        recaptions: other descriptions of it, by kind.
        labels: what plays on a stem, where that is known.
        stamp: of the files that it was encoded from, or of what else it depends on.
        note: what is to be said of it, though it can be used.
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
    """A song that could not be taken, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class Encoding:
    """One song on its way into a shard: its tracks as latents (8, 16, T), all of one length."""

    song: EncodedSong
    tracks: Mapping[str, FloatArray]


class EncodedSet:
    """The songs in a folder. Opening reads the `.jsonl` files; latents are mapped and read when asked for.

    Raises:
        InputError: no such folder, no song in it, or a shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / ABOUT).is_file():
            allowed = "a folder that `acestep-flows encode` has written"
            raise InputError("no encoded songs", where=str(folder), allowed=allowed)
        self.about = read_about(folder)
        self.songs: list[EncodedSong] = []
        self.broken: list[Broken] = []
        self._shard_of: list[int] = []
        self._shards: list[NDArray[np.float16]] = []
        for listing in sorted(folder.glob("shard-*.jsonl")):
            found = read_listing(listing)
            latents = _latents(listing, found)
            for entry in found:
                if isinstance(entry, Broken):
                    self.broken.append(entry)
                else:
                    self.songs.append(entry)
                    self._shard_of.append(len(self._shards))
            self._shards.append(latents)
        if not self.songs:
            reasons = "; ".join(sorted({broken.reason for broken in self.broken})[:3]) or "nothing was encoded"
            raise InputError(f"holds no usable song: {reasons}", where=str(folder))

    @property
    def digest(self) -> str:
        """sha256 of what can be learnt from: the songs as they are listed, and what made their latents."""
        made = [self.about.get("autoencoder"), self.about.get("dtype")]
        apart = {"stamp": "", "note": ""}  # nothing that is learnt, as are places in a shard
        return joined([made, [asdict(song) | apart | {"tracks": list(song.tracks)} for song in self.songs]])

    def __len__(self) -> int:
        return len(self.songs)

    def latents(self, index: int, track: str = MIX, start: int = 0, frames: int | None = None) -> FloatArray:
        """Latents (8, 16, n) of a track of song `index`, from frame `start` on.

        Raises:
            InputError: the song has no such track.
        """
        song = self.songs[index]
        if track not in song.tracks:
            raise InputError(f"no track {track!r}", where=song.key, allowed=", ".join(song.tracks))
        count = song.frames - start if frames is None else min(frames, song.frames - start)
        return _cut(self._shards[self._shard_of[index]], song.tracks[track] + start, count)


def shard_path(folder: Path, number: int) -> Path:
    """The listing of a shard; its latents are beside it."""
    return folder / f"shard-{number:05d}.jsonl"


def write_shard(folder: Path, number: int, content: Sequence[Encoding | Broken]) -> None:
    """Write one shard, its listing last; one that is there is taken away first, as it would not fit the new latents.

    Raises:
        StorageError: the folder cannot be written to.
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
    joined = np.concatenate(latents) if latents else np.zeros((0, FRAME), np.float16)
    buffer = io.BytesIO()
    np.save(buffer, joined)
    listing = shard_path(folder, number)
    listing.unlink(missing_ok=True)
    storage.write(listing.with_suffix(".npy"), buffer.getbuffer())
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    storage.write(listing, text.encode("utf-8", "surrogatepass"))


def read_about(folder: Path) -> dict[str, Any]:
    """What the folder is made from.

    Raises:
        InputError: it cannot be read.
    """
    file = folder / ABOUT
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return dict(found)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"damaged: {error}", where=str(file), allowed=REPAIR) from None


def read_listing(listing: Path) -> list[EncodedSong | Broken]:
    """The songs of a shard, and those that could not be taken.

    Raises:
        InputError: the listing is damaged.
    """
    try:
        text = listing.read_bytes().decode("utf-8", "surrogatepass")
        return [_entry(json.loads(line)) for line in text.split("\n") if line]  # lyrics may hold other line ends
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"damaged: {error}", where=str(listing), allowed=REPAIR) from None


def read_shard(folder: Path, number: int) -> list[Encoding | Broken]:
    """A shard as `write_shard` was given it, but for the rounding of latents.

    Raises:
        InputError: it is damaged.
    """
    listing = shard_path(folder, number)
    found = read_listing(listing)
    rows = _latents(listing, found)
    return [
        entry
        if isinstance(entry, Broken)
        else Encoding(entry, {name: _cut(rows, first, entry.frames) for name, first in entry.tracks.items()})
        for entry in found
    ]


def entries(folder: Path) -> Iterator[EncodedSong | Broken]:
    """Everything that the folder lists, without opening any latents."""
    for listing in sorted(folder.glob("shard-*.jsonl")):
        yield from read_listing(listing)


def _entry(line: Mapping[str, Any]) -> EncodedSong | Broken:
    if "reason" in line:
        return Broken(**line)
    tracks = {name: int(first) for name, first in line["tracks"].items()}
    return EncodedSong(**{**line, "tags": tuple(line["tags"]), "frames": int(line["frames"]), "tracks": tracks})


def _latents(listing: Path, found: Sequence[EncodedSong | Broken]) -> NDArray[np.float16]:
    """The latents beside a listing, mapped; they must reach as far as it says."""
    file = listing.with_suffix(".npy")
    try:
        rows: NDArray[np.float16] = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"damaged: {error}", where=str(file), allowed=REPAIR) from None
    songs = (entry for entry in found if isinstance(entry, EncodedSong))
    wanted = max((first + song.frames for song in songs for first in song.tracks.values()), default=0)
    if rows.dtype != np.float16 or rows.ndim != 2 or rows.shape[1] != FRAME or len(rows) < wanted:
        what = f"damaged: {rows.dtype} of shape {list(rows.shape)} in place of float16 [{wanted}, {FRAME}]"
        raise InputError(what, where=str(file), allowed=REPAIR)
    return rows


def _cut(rows: NDArray[np.float16], first: int, count: int) -> FloatArray:
    wide = np.asarray(rows[first : first + count], np.float32)
    return np.ascontiguousarray(wide.T).reshape(LATENT_CHANNELS, LATENT_HEIGHT, count)
