"""Writing of audio files: 48 kHz stereo with tags; a file is complete or absent (spec 04 section 8)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import soundfile

from acestep_flows import storage
from acestep_flows.audio.formats import Format, format_for
from acestep_flows.audio.id3 import with_id3
from acestep_flows.audio.loudness import limit, within_full_scale
from acestep_flows.audio.resample import at_rate, stereo
from acestep_flows.audio.riff import LARGEST_FILE, with_info
from acestep_flows.audio.tags import SOFTWARE, Tags
from acestep_flows.errors import InputError
from acestep_flows.values import OUTPUT_RATE, Audio

FRAMES_PER_BLOCK = 1 << 16
"""Samples per write. libsndfile's Vorbis encoder puts each write on the stack, which a long song would overflow."""

LOSSY_CEILING = -1.0
"""dBTP of mp3 and ogg. Decoders give peaks that are a little higher than those that were encoded."""

HIGHEST_RATE = 192_000
"""Hz; audio with a higher rate is written at 48 kHz unless a rate is asked for."""


@dataclass(frozen=True)
class Written:
    """A finished file.

    Attributes:
        path: the path of the file.
        format: wav, flac, mp3 or ogg.
        size: bytes.
        over: by how many dB samples were over full scale; their surroundings were turned down to fit.
    """

    path: Path
    format: str
    size: int
    over: float


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

    Only float32 holds samples over full scale. For every other sample type `within_full_scale` turns down the
    surroundings of such samples. For mp3 and ogg true peaks are limited to `LOSSY_CEILING`.

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
    encoded, over = encode(sound, kind, subtype=subtype, tags=tags, sample_rate=sample_rate)
    storage.write(path, encoded)
    return Written(path, kind.name, len(encoded), over)


def over_full_scale(decibels: float) -> str:
    """What to say of a file whose samples were over full scale by this much."""
    return f"samples were up to {max(decibels, 0.1):.1f} dB over full scale; these peaks are turned down to fit"


def own_rate(sound: Audio, kind: Format) -> int:
    """The rate of `sound` in Hz if files of `kind` have it; otherwise 48 kHz."""
    fits = sound.sample_rate in kind.rates if kind.rates else 8_000 <= sound.sample_rate <= HIGHEST_RATE
    return sound.sample_rate if fits else OUTPUT_RATE


def encode(
    sound: Audio, kind: Format, *, subtype: str | None, tags: Tags | None, sample_rate: int = OUTPUT_RATE
) -> tuple[bytes, float]:
    """The bytes of the file that `audio` writes, and by how many dB samples were over full scale."""
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

    over = 0.0
    if sample_type != "FLOAT":
        sound, over = within_full_scale(sound)
    if kind.compression is not None:
        sound = limit(sound, LOSSY_CEILING)
    samples, stream = sound.samples, BytesIO()
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
    return encoded, over


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
