"""A song on its way into training, and what gives songs by number. The rules for recordings are those of spec 05."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from acestep_flows.errors import InputError
from acestep_flows.values import MAX_SECONDS, OUTPUT_RATE, Audio, FloatArray

MIN_SECONDS = 3
SILENT_SHARE = 0.95


@dataclass(frozen=True)
class Song:
    """A song as its source has it: all tracks of one length; "mix" is always there."""

    key: str
    tags: tuple[str, ...]
    lyrics: str
    tracks: Mapping[str, Audio]
    recaptions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


class SongSource(ABC):
    """Songs by number."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, index: int) -> str:
        """What song `index` is called."""

    @abstractmethod
    def song(self, index: int) -> Song:
        """Song `index`.

        Raises:
            InputError: it cannot be used.
        """

    @abstractmethod
    def stamp(self, index: int) -> str:
        """Changes when what song `index` is made from does."""


def split_tags(text: str) -> tuple[str, ...]:
    """Comma-separated tags as a list."""
    return tuple(filter(None, (tag.strip() for tag in text.replace("\n", ",").split(","))))


def recording(file: Path, *, silent: bool = False) -> Audio:
    """An audio file as training takes it; `silent` ones are refused unless allowed, as stems may rest."""
    return prepared(read_audio(file), str(file), silent=silent)


def prepared(audio: Audio, where: str, *, silent: bool = False) -> Audio:
    """Stereo at 48 kHz in -1..1, at least 3 s long, the first 240 s (spec 05 section 1.2).

    Raises:
        InputError: nearly all of it is silence.
    """
    from acestep_flows.audio.resample import resample, stereo

    longest = int((MAX_SECONDS + 1) * audio.sample_rate)
    cut = stereo(Audio(audio.samples[:2, :longest], audio.sample_rate))
    samples: FloatArray = resample(cut.samples, audio.sample_rate, OUTPUT_RATE).clip(-1, 1)
    missing = MIN_SECONDS * OUTPUT_RATE - samples.shape[1]
    if missing > 0:
        samples = np.pad(samples, ((0, 0), (0, missing)))
    if not silent and float((samples == 0).all(axis=0).mean()) > SILENT_SHARE:
        raise InputError("silent", where=where, allowed=f"less than {SILENT_SHARE:.0%} of it silence")
    return Audio(samples[:, : int(MAX_SECONDS * OUTPUT_RATE)], OUTPUT_RATE)


def read_audio(source: Path | bytes) -> Audio:
    """A recording as it is; see `audio.read`."""
    from acestep_flows.audio import read

    return read.audio(source)
