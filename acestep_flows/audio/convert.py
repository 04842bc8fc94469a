"""An audio file in another format, with its tags."""

from __future__ import annotations

import os

from acestep_flows.audio import read, tags, write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.values import OUTPUT_RATE


def convert(path: str | os.PathLike[str], format: str) -> write.Encoded:
    """The file in `path` encoded anew, and what was changed to fit. Between wav and flac every 16-bit sample stays.

    Args:
        format: wav, flac, mp3 or ogg. The sample rate stays where the format allows it, else it becomes 48 kHz.

    Raises:
        InputError: the file is not readable as audio, or `format` cannot hold it.
    """
    kind, kept = FORMATS[format], tags.read(path)
    sound = read.audio(path)
    rate = sound.sample_rate if not kind.rates or sound.sample_rate in kind.rates else OUTPUT_RATE
    # Without a statement the file is another program's, and so is no recipe in it.
    return write.encode(sound, kind, subtype=None, tags=kept if kept.statement else None, sample_rate=rate)
