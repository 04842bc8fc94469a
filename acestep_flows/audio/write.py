"""Writing of audio files: 48 kHz stereo with tags; a file is complete or absent (spec 04 section 8)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from acestep_flows import storage
from acestep_flows.audio.flac_blocks import with_blocks_of
from acestep_flows.audio.formats import Format, format_for
from acestep_flows.audio.id3 import with_id3
from acestep_flows.audio.loudness import limit, within_full_scale
from acestep_flows.audio.resample import at_rate, stereo
from acestep_flows.audio.riff import LARGEST_FILE, add_info, with_info
from acestep_flows.audio.tags import SOFTWARE, Tags
from acestep_flows.errors import InputError
from acestep_flows.values import OUTPUT_RATE, Audio

FRAMES_PER_BLOCK = 1 << 16
"""Samples per write. libsndfile's Vorbis encoder puts each write on the stack, which a long song would overflow."""

LOSSY_CEILING = -1.0
"""dBTP of mp3 and ogg. Decoders give peaks that are a little higher than those that were encoded."""

DECODED_MARGIN = 0.1
"""dB by which the limit is lowered beyond what a decoder's output is over full scale."""

MOST_TRIES = 4
"""How often a lossy file is encoded until its decoded samples are within full scale."""

TAGGED_LATER = ("flac", "wav", "mp3")
"""Formats whose tags stand apart from the encoded samples, so that `with_tags` can add them."""

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
        notes: what else was changed so that the file plays within full scale.
    """

    path: Path
    format: str
    size: int
    over: float
    notes: tuple[str, ...] = ()


class Encoded(NamedTuple):
    """The bytes of a file; `over` and `notes` as in `Written`."""

    content: bytes
    over: float
    notes: tuple[str, ...] = ()


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
    surroundings of such samples. For mp3 and ogg true peaks are limited to `LOSSY_CEILING`, and lower where the file's
    decoded samples would be over full scale all the same.

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
    encoded = encode(sound, kind, subtype=subtype, tags=tags, sample_rate=sample_rate)
    storage.write(path, encoded.content)
    return Written(path, kind.name, len(encoded.content), encoded.over, encoded.notes)


def over_full_scale(decibels: float) -> str:
    """What to say of a file whose samples were over full scale by this much."""
    return f"samples were up to {max(decibels, 0.1):.1f} dB over full scale; these peaks are turned down to fit"


def warnings(encoded: Encoded) -> list[str]:
    """What whoever gets an encoded file must know."""
    return [*([over_full_scale(encoded.over)] if encoded.over else []), *encoded.notes]


def own_rate(sound: Audio, kind: Format) -> int:
    """The rate of `sound` in Hz if files of `kind` have it; otherwise 48 kHz."""
    fits = sound.sample_rate in kind.rates if kind.rates else 8_000 <= sound.sample_rate <= HIGHEST_RATE
    return sound.sample_rate if fits else OUTPUT_RATE


def encode(
    sound: Audio, kind: Format, *, subtype: str | None, tags: Tags | None, sample_rate: int = OUTPUT_RATE
) -> Encoded:
    """The bytes of the file that `audio` writes, and what was changed to fit."""
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
    if kind.compression is None:
        return Encoded(_content(sound, kind, sample_type, tags), over)
    content, notes = _within_full_scale_decoded(sound, kind, sample_type, tags)
    return Encoded(content, over, notes)


def _within_full_scale_decoded(
    sound: Audio, kind: Format, sample_type: str, tags: Tags | None
) -> tuple[bytes, tuple[str, ...]]:
    """A lossy file whose decoded samples are within full scale, and what to say of it.

    What a codec adds to peaks is known only afterwards, so the file is decoded, and made again with a lower limit.
    """
    ceiling = LOSSY_CEILING
    for left in reversed(range(MOST_TRIES)):
        content = _content(limit(sound, ceiling), kind, sample_type, tags)
        over = 20 * math.log10(max(_decoded_peak(content), 1.0))
        if over == 0 or left == 0:
            break
        ceiling -= over + DECODED_MARGIN
    lowered = f"peaks are limited to {ceiling:.1f} dBTP, because {kind.name} decodes them louder than they are"
    still = f"decoded samples are up to {max(over, 0.1):.1f} dB over full scale"
    notes = [lowered] if ceiling < LOSSY_CEILING else []
    return content, (*notes, still) if over else tuple(notes)


def _decoded_peak(content: bytes) -> float:
    """The largest sample of a file that was just encoded."""
    with soundfile.SoundFile(BytesIO(content)) as file:
        blocks = file.blocks(FRAMES_PER_BLOCK, dtype="float32")
        return max((float(np.abs(block).max(initial=0.0)) for block in blocks), default=0.0)


def with_tags(content: bytes, kind: Format, tags: Tags, sample_rate: int = OUTPUT_RATE) -> bytes:
    """A file of one of TAGGED_LATER, in its default sample type, that has no tags yet, with tags.

    Args:
        sample_rate: of the file, in Hz.
    """
    if kind.name == "wav":
        return with_info(content, _info(tags))
    if kind.name == "mp3":
        return with_id3(content, title=tags.title, comment=tags.comment(), software=SOFTWARE)
    instant = Audio(np.zeros((2, 1), np.float32), sample_rate)
    return with_blocks_of(content, _content(instant, kind, kind.subtype(None), tags))


def _content(sound: Audio, kind: Format, sample_type: str, tags: Tags | None) -> bytes:
    """The file of samples as they are."""
    stream = BytesIO()
    with _encoder(stream, kind, sample_type, sound.sample_rate) as file:
        if tags and kind.name in ("flac", "ogg"):
            file.comment, file.software = tags.comment(), SOFTWARE
            if tags.title:  # libsndfile refuses empty strings
                file.title = tags.title
        for start in range(0, sound.samples.shape[1], FRAMES_PER_BLOCK):
            file.write(sound.samples[:, start : start + FRAMES_PER_BLOCK].T)
    if tags and kind.name == "wav":
        add_info(stream, _info(tags))  # in place: a long song has many megabytes
    encoded = stream.getvalue()
    return with_tags(encoded, kind, tags) if tags and kind.name == "mp3" else encoded


def _info(tags: Tags) -> dict[str, str]:
    return {"ICMT": tags.comment(), "ISFT": SOFTWARE, "INAM": tags.title}


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
