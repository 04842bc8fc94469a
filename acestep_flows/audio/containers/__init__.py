"""Audio files as bytes: what they are, how long they must be, and clean files of their sound for the decoder.

Headers of files that people have lie about sizes. They are read here, and none of them reaches libsndfile.
"""

from __future__ import annotations

from typing import BinaryIO

from acestep_flows.audio.containers import aiff, caf, flac, foreign, mpeg, ogg, riff_wave
from acestep_flows.audio.containers.container import Container, Unreadable
from acestep_flows.audio.containers.pieces import Window
from acestep_flows.audio.containers.tag_blocks import after_id3, after_zeros
from acestep_flows.errors import InputError

READABLE = ("wav", "flac", "mp3", "ogg", "aiff", "caf")
ALLOWED = ", ".join(sorted(READABLE))


def examine(file: BinaryIO, where: str, path: str = "") -> Container:
    """The container of an audio file.

    Args:
        where: the file's name, for errors.
        path: of the file, for the command that converts it.

    Raises:
        InputError: it is no audio file that can be read.
    """
    window = Window(file)
    try:
        if (container := _examine(window)) is not None:
            return container
    except Unreadable as error:
        raise InputError(f"not readable as audio: {error}", where=where, allowed=ALLOWED) from None
    if format := foreign.name(window.read(0, 20)):
        advice = f"{ALLOWED}; {foreign.advice(format, path)}"
        raise InputError(f"{format} file, which is not read", where=where, allowed=advice)
    raise InputError("not readable as audio: no known format", where=where, allowed=ALLOWED)


def _examine(window: Window) -> Container | None:
    head = window.read(0, 40)
    if riff_wave.is_wave(head):
        return riff_wave.examine(window)
    if aiff.is_aiff(head):
        return aiff.examine(window)
    if caf.is_caf(head):
        return caf.examine(window)
    tagged = after_id3(window)
    start = after_zeros(window, tagged) if tagged else 0
    head = window.read(start, 40)
    if flac.is_flac(head):
        return flac.examine(window, start)
    if ogg.is_ogg(head):
        return ogg.examine(window, start)
    return None if foreign.name(window.read(0, 20)) else mpeg.examine(window, tagged)
