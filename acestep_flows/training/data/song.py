"""Songs as sources give them, and the rules that make a recording fit for training (spec 05 section 1.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from acestep_flows.errors import InputError
from acestep_flows.values import MAX_SECONDS, OUTPUT_RATE, Audio, FloatArray

MIN_SECONDS = 3
SILENT_SHARE = 0.95
"""A recording with a larger share of exact zeros counts as silent (spec 05 section 1.2)."""


@dataclass(frozen=True)
class Song:
    """A song as its source has it.

    Attributes:
        key: name of the song in its source.
        tags: in the order of the source.
        lyrics: "" for an instrumental, or where none are known.
        tracks: audio by track name, all of one length. "mix" is always among them.
        recaptions: other descriptions of the song, by kind.
        labels: instrument or style names by stem, where known.
    """

    key: str
    tags: tuple[str, ...]
    lyrics: str
    tracks: Mapping[str, Audio]
    recaptions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


class SongSource(ABC):
    """A collection of songs, numbered from 0. A fault of one song is an `InputError` of that song alone."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, index: int) -> str:
        """The name of song `index`."""

    @abstractmethod
    def song(self, index: int) -> Song:
        """Read song `index`.

        Raises:
            InputError: it cannot be used.
        """

    @abstractmethod
    def stamp(self, index: int) -> str:
        """A text that changes when the content of the files, or the settings, behind song `index` change."""

    def former_stamp(self, index: int) -> str:
        """The stamp that 0.1.0 gave song `index` as it is now."""
        return self.stamp(index)

    def has_stamp(self, index: int, stamp: str) -> bool:
        """Whether `stamp` was given to song `index` as it is now, by this version or by 0.1.0."""
        return self.former_stamp(index) == stamp or self.stamp(index) == stamp  # the former reads no file


def split_tags(text: str) -> tuple[str, ...]:
    """Split tags at commas and line ends; empty ones are left out."""
    return tuple(filter(None, (tag.strip() for tag in text.replace("\n", ",").split(","))))


def list_audio_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files below `folder`, at any depth, that have one of `suffixes`. Sorted by path.

    Raises:
        InputError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
    if not files:
        raise InputError("no audio files", where=str(folder), allowed=", ".join(suffixes))
    return files


def read_recording(file: Path, *, silent: bool = False) -> Audio:
    """Read an audio file and prepare it; see `prepare_recording`."""
    return prepare_recording(read_audio(file), str(file), silent=silent)


def prepare_recording(audio: Audio, where: str, *, silent: bool = False) -> Audio:
    """Convert to stereo at 48 kHz in -1..1, pad to at least 3 s, keep the first 240 s (spec 05 section 1.2).

    Args:
        where: name of the recording in errors.
        silent: accept silence, as a stem may rest through a whole song.

    Raises:
        InputError: nearly all of it is silence, and `silent` is not set.
    """
    from acestep_flows.audio.resample import resample, stereo

    longest = int((MAX_SECONDS + 1) * audio.sample_rate)
    cut = stereo(Audio(audio.samples[:2, :longest], audio.sample_rate))
    samples: FloatArray = resample(cut.samples, audio.sample_rate, OUTPUT_RATE).clip(-1, 1)
    missing = MIN_SECONDS * OUTPUT_RATE - samples.shape[1]
    if missing > 0:
        samples = np.pad(samples, ((0, 0), (0, missing)))
    if not silent and float((samples == 0).all(axis=0).mean()) > SILENT_SHARE:
        raise InputError("silent", where=where, allowed=f"at most {SILENT_SHARE:.0%} silence")
    return Audio(samples[:, : int(MAX_SECONDS * OUTPUT_RATE)], OUTPUT_RATE)


def read_audio(source: Path | bytes) -> Audio:
    """Read a recording without changing it; see `audio.read`."""
    from acestep_flows.audio import read

    return read.audio(source)
