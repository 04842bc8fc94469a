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
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT, FloatArray

ABOUT = "encoded.json"
FRAME = LATENT_CHANNELS * LATENT_HEIGHT
MIX = "mix"
WITHOUT = "without "
"""Begins the name of a track that is the mix less one stem."""


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
    """

    key: str
    tags: tuple[str, ...]
    lyrics: str
    frames: int
    tracks: Mapping[str, int]
    recaptions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


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
        InputError: no such folder, or no song in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / ABOUT).is_file():
            allowed = "a folder that `acestep-flows encode` has written"
            raise InputError("no encoded songs", where=str(folder), allowed=allowed)
        self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.songs: list[EncodedSong] = []
        self.broken: list[Broken] = []
        self._shard_of: list[int] = []
        self._shards: list[NDArray[np.float16]] = []
        for listing in sorted(folder.glob("shard-*.jsonl")):
            self._read(listing)
        if not self.songs:
            reasons = "; ".join(sorted({broken.reason for broken in self.broken})[:3]) or "nothing was encoded"
            raise InputError(f"holds no usable song: {reasons}", where=str(folder))

    def _read(self, listing: Path) -> None:
        self._shards.append(np.load(listing.with_suffix(".npy"), mmap_mode="r"))
        for line in listing.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "reason" in entry:
                self.broken.append(Broken(**entry))
                continue
            self.songs.append(EncodedSong(**entry | {"tags": tuple(entry["tags"])}))
            self._shard_of.append(len(self._shards) - 1)

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
        first = song.tracks[track] + start
        rows = np.asarray(self._shards[self._shard_of[index]][first : first + count], np.float32)
        return np.ascontiguousarray(rows.T).reshape(LATENT_CHANNELS, LATENT_HEIGHT, count)


def shard_path(folder: Path, number: int) -> Path:
    """The listing of a shard; its latents are beside it."""
    return folder / f"shard-{number:05d}.jsonl"


def write_shard(folder: Path, number: int, content: Sequence[Encoding | Broken]) -> None:
    """Write one shard, its listing last.

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
    storage.write(listing.with_suffix(".npy"), buffer.getbuffer())
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    storage.write(listing, text.encode("utf-8", "surrogatepass"))


def entries(folder: Path) -> Iterator[EncodedSong | Broken]:
    """Everything that the folder lists, without opening any latents."""
    for listing in sorted(folder.glob("shard-*.jsonl")):
        for line in listing.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "reason" in entry:
                yield Broken(**entry)
            else:
                yield EncodedSong(**entry | {"tags": tuple(entry["tags"])})
