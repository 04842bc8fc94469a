"""An audio file in another format, with its tags."""

from __future__ import annotations

import os

from acestep_flows.audio import read, tags, write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.values import OUTPUT_RATE, Audio

INT16_READ, INT16_WRITTEN = 32_768, 32_767
"""libsndfile reads 16-bit samples as multiples of 1/32768, and writes full scale as 32767."""


def convert(path: str | os.PathLike[str], format: str) -> bytes:
    """The file in `path` encoded anew. Between wav and flac every 16-bit sample above -32768 stays as it is.

    Args:
        format: wav, flac, mp3 or ogg. The sample rate stays where the format allows it, else it becomes 48 kHz.

    Raises:
        InputError: the file is not readable as audio, or `format` cannot hold it.
    """
    kind = FORMATS[format]
    kept = tags.read(path)
    sound = read.audio(path)
    if _is_int16(path) and kind.subtype(None) == "PCM_16":
        sound = Audio((sound.samples * (INT16_READ / INT16_WRITTEN)).clip(-1, 1), sound.sample_rate)
    rate = sound.sample_rate if not kind.rates or sound.sample_rate in kind.rates else OUTPUT_RATE
    # Without a statement the file is another program's, and so is no recipe in it.
    return write.encode(sound, kind, subtype=None, tags=kept if kept.statement else None, sample_rate=rate)[0]


def _is_int16(path: str | os.PathLike[str]) -> bool:
    with read.opened(path, str(path)) as stream, read.decoder(stream, str(path)) as sound:
        return bool(sound.subtype == "PCM_16")
