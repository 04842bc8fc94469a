"""The audio file formats of outputs, with their sample types and rates (spec 04 section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.errors import InputError


@dataclass(frozen=True)
class Format:
    """One output format.

    Attributes:
        name: the name for users, and the file extension.
        container: libsndfile's name of the format.
        subtypes: libsndfile's names of the sample types, by their names for users; the default is first.
        rates: allowed sample rates in Hz; empty means any.
        compression: libsndfile's compression level, 0 (best quality, largest) to 1; None for lossless formats.
    """

    name: str
    container: str
    subtypes: Mapping[str, str]
    rates: tuple[int, ...] = ()
    compression: float | None = None

    def subtype(self, name: str | None) -> str:
        """libsndfile's name of sample type `name`; None means the default.

        Raises:
            InputError: the format does not have this sample type.
        """
        if name is None:
            return next(iter(self.subtypes.values()))
        if name not in self.subtypes:
            raise InputError(f"no {name} in {self.name}", where="subtype", allowed=", ".join(self.subtypes))
        return self.subtypes[name]


MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

FORMATS = {
    each.name: each
    for each in (
        Format("wav", "WAV", {"pcm_16": "PCM_16", "pcm_24": "PCM_24", "float32": "FLOAT"}),
        Format("flac", "FLAC", {"pcm_16": "PCM_16", "pcm_24": "PCM_24"}),
        Format("mp3", "MP3", {"mp3": "MPEG_LAYER_III"}, MPEG_RATES, compression=0.0),  # variable bit rate, LAME V0
        Format("ogg", "OGG", {"vorbis": "VORBIS"}, compression=0.2),  # Vorbis quality 8
    )
}


def format_for(path: Path, name: str | None) -> Format:
    """The format `name`, or the format of the extension of `path` where `name` is None.

    Raises:
        InputError: the format is unknown, or the extension is that of another format.
    """
    extension = path.suffix.lower().removeprefix(".")
    wanted = name or extension
    if wanted not in FORMATS:
        raise InputError(f"unknown audio format {wanted!r}", where=str(path), allowed=", ".join(FORMATS))
    if extension in FORMATS and extension != wanted:
        raise InputError(f"format {wanted} in a file named .{extension}", where=str(path), allowed=f".{wanted}")
    return FORMATS[wanted]
