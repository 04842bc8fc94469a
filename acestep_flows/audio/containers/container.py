"""What is known of an audio file before a sample is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from acestep_flows.audio.containers.pieces import Pieces

TOLERANCE = 0.05
"""Seconds by which a header may promise too much. A file that lacks more is truncated."""


@dataclass(frozen=True)
class Missing:
    """What a truncated file lacks.

    Attributes:
        seconds: how much; None where nothing in the file says it.
        at_least: whether more may be missing.
    """

    seconds: float | None
    at_least: bool = False


@dataclass(frozen=True)
class Part:
    """A piece of sound that is decoded by itself: a whole file, or one of several that were joined.

    Attributes:
        content: a clean file for the decoder.
        samples: in each channel, where the header says so and it can be compared with what is decoded.
        rate: in Hz, where the container has it.
    """

    content: Pieces
    samples: int | None = None
    rate: int | None = None


@dataclass(frozen=True)
class Container:
    """An audio file, ready to be decoded.

    Attributes:
        format: wav, flac, mp3, ogg, aiff or caf.
        parts: what is decoded, one after another.
        missing: what the file lacks of what it promises; None: nothing worth a word.
        speakers: where each channel belongs (`downmix.SPEAKERS`); empty where the file does not say.
    """

    format: str
    parts: tuple[Part, ...]
    missing: Missing | None = None
    speakers: tuple[str, ...] = ()


class Unreadable(Exception):
    """The bytes are not of the format that they began as."""


def lacking(seconds: float) -> Missing | None:
    """`Missing`, if it is more than the tolerance."""
    return Missing(seconds) if seconds > TOLERANCE else None
