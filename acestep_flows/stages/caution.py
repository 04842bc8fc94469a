"""Notes that are told as warnings."""

from __future__ import annotations


class Caution(str):
    """A note that a song will not be what was asked. It is logged as a warning, so that it is always shown."""
