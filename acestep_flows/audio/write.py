"""Writing of audio files: 48 kHz stereo with tags; a file is complete or absent (spec 04 section 8)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from acestep_flows import storage
from acestep_flows.audio.formats import Format, format_for
from acestep_flows.audio.id3 import with_id3
from acestep_flows.audio.resample import at_rate, stereo
from acestep_flows.audio.riff import LARGEST_FILE, with_info
from acestep_flows.audio.tags import SOFTWARE, Tags
from acestep_flows.errors import InputError
from acestep_flows.values import OUTPUT_RATE, Audio

FRAMES_PER_BLOCK = 1 << 16
"""Samples per write. libsndfile's Vorbis encoder puts each write on the stack, which a long song would overflow."""


@dataclass(frozen=True)
class Written:
    """A finished file.

    Attributes:
        path: the path of the file.
        format: wav, flac, mp3 or ogg.
        size: bytes.
        clipped: samples beyond full scale that were clipped, over both channels.
    """

    path: Path
    format: str
    size: int
    clipped: int


def audio(
    path: str | os.PathLike[str],
    sound: Audio,
    *,
    format: str | None = None,
    subtype: str | None = None,
    tags: Tags | None = None,
    sample_rate: int = OUTPUT_RATE,
) -> Written:
    """Write `sound` to `path` as stereo at `sample_rate`. Missing folders are created; an existing file is replaced.

    Args:
        path: the file; its name is used unchanged.
        sound: at any rate; mono is doubled, and of more than two channels the first two are written.
        format: wav, flac, mp3 or ogg; by default that of the extension.
        subtype: wav: pcm_16 (default), pcm_24, float32; flac: pcm_16 (default), pcm_24; mp3 and ogg have one.
        tags: the tags of the file; None writes none.
        sample_rate: of the file, in Hz.

    Raises:
        InputError: format, subtype and rate do not fit together, or there are no samples or too many for the format.
        StorageError: the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    kind = format_for(path, format)
    encoded, clipped = encode(sound, kind, subtype=subtype, tags=tags, sample_rate=sample_rate)
    storage.write(path, encoded)
    return Written(path, kind.name, len(encoded), clipped)


def encode(
    sound: Audio, kind: Format, *, subtype: str | None, tags: Tags | None, sample_rate: int = OUTPUT_RATE
) -> tuple[bytes, int]:
    """The bytes of the file that `audio` writes, and the number of clipped samples."""
    sample_type = kind.subtype(subtype)
    if kind.rates and sample_rate not in kind.rates:
        rates = ", ".join(str(rate) for rate in kind.rates)
        raise InputError(f"{sample_rate} Hz", where=f"{kind.name} file", allowed=rates)
    if sound.samples.shape[1] == 0:
        raise InputError("no samples", where="audio", allowed="at least one sample")
    sound = at_rate(stereo(sound), sample_rate)
    comment = tags.comment() if tags else ""
    if kind.name == "wav" and sound.samples.size * 4 + len(comment) > LARGEST_FILE:
        raise InputError(f"{sound.seconds:.0f} s", where="wav file", allowed="4 GB; flac holds more")

    samples, clipped = sound.samples, 0
    if sample_type != "FLOAT":
        clipped = int(np.count_nonzero(np.abs(samples) > 1))
        samples = samples.clip(-1, 1) if clipped else samples
    stream = BytesIO()
    with _encoder(stream, kind, sample_type, sample_rate) as file:
        if tags and kind.name in ("flac", "ogg"):
            file.comment, file.software = comment, SOFTWARE
            if tags.title:  # libsndfile refuses empty strings
                file.title = tags.title
        for start in range(0, samples.shape[1], FRAMES_PER_BLOCK):
            file.write(samples[:, start : start + FRAMES_PER_BLOCK].T)
    encoded = stream.getvalue()
    if tags and kind.name == "wav":
        encoded = with_info(encoded, {"ICMT": comment, "ISFT": SOFTWARE, "INAM": tags.title})
    if tags and kind.name == "mp3":
        encoded = with_id3(encoded, title=tags.title, comment=comment, software=SOFTWARE)
    return encoded, clipped


def _encoder(stream: BytesIO, kind: Format, subtype: str, sample_rate: int) -> soundfile.SoundFile:
    return soundfile.SoundFile(
        stream,
        "w",
        sample_rate,
        channels=2,
        subtype=subtype,
        format=kind.container,
        compression_level=kind.compression,
        bitrate_mode="VARIABLE" if kind.name == "mp3" else None,
    )
