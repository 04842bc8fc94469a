"""The file formats that songs are written in, and what each can hold (spec 04 section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.errors import InputError


@dataclass(frozen=True)
class Format:
    """One output format.

    Attributes:
        name: the word users say, and the file extension.
        container: libsndfile's name for it.
        subtypes: sample types by the word users say, the default first, with libsndfile's name for each.
        rates: sample rates it can hold; empty: any.
        compression: libsndfile's compression level, 0 (best quality, largest) to 1; None where it does not apply.
    """

    name: str
    container: str
    subtypes: Mapping[str, str]
    rates: tuple[int, ...] = ()
    compression: float | None = None

    @property
    def lossless(self) -> bool:
        return self.compression is None

    def subtype(self, name: str | None) -> str:
        """libsndfile's name of sample type `name`, or of the default."""
        if name is None:
            return next(iter(self.subtypes.values()))
        if name not in self.subtypes:
            raise InputError(f"no {name} in {self.name}", where="subtype", allowed=", ".join(self.subtypes))
        return self.subtypes[name]


MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

FORMATS = {
    known.name: known
    for known in (
        Format("wav", "WAV", {"pcm_16": "PCM_16", "pcm_24": "PCM_24", "float32": "FLOAT"}),
        Format("flac", "FLAC", {"pcm_16": "PCM_16", "pcm_24": "PCM_24"}),
        Format("mp3", "MP3", {"mp3": "MPEG_LAYER_III"}, MPEG_RATES, compression=0.0),  # variable bit rate, LAME V0
        Format("ogg", "OGG", {"vorbis": "VORBIS"}, compression=0.2),  # Vorbis quality 8
    )
}


def format_for(path: Path, name: str | None) -> Format:
    """The format called `name`, or the one that the extension of `path` names.

    Raises:
        InputError: the format is unknown, or the extension names another one.
    """
    extension = path.suffix.lower().removeprefix(".")
    wanted = name or extension
    if wanted not in FORMATS:
        raise InputError(f"unknown audio format {wanted!r}", where=str(path), allowed=", ".join(FORMATS))
    if extension in FORMATS and extension != wanted:
        raise InputError(f"format {wanted} in a file named .{extension}", where=str(path), allowed=f".{wanted}")
    return FORMATS[wanted]
