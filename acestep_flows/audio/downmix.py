"""Mixing of more than two channels down to stereo, by where each channel's loudspeaker stands (ITU-R BS.775).

Front left and right stay as they are. The centre goes to both sides at -3 dB, and each surround channel to its side at
-3 dB. The channel of low-frequency effects is left out.
"""

from __future__ import annotations

import numpy as np

from acestep_flows.values import FloatArray

DOWN_3_DB, HALF = 0.5**0.5, 0.5

SPEAKERS = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (DOWN_3_DB, DOWN_3_DB),
    "LFE": (0.0, 0.0),
    "BL": (DOWN_3_DB, 0.0),
    "BR": (0.0, DOWN_3_DB),
    "FLC": (DOWN_3_DB, 0.0),
    "FRC": (0.0, DOWN_3_DB),
    "BC": (HALF, HALF),
    "SL": (DOWN_3_DB, 0.0),
    "SR": (0.0, DOWN_3_DB),
    "TC": (HALF, HALF),
    "TFL": (DOWN_3_DB, 0.0),
    "TFC": (HALF, HALF),
    "TFR": (0.0, DOWN_3_DB),
    "TBL": (DOWN_3_DB, 0.0),
    "TBC": (HALF, HALF),
    "TBR": (0.0, DOWN_3_DB),
}
"""Gains to left and right of each speaker, in the order of the bits of a WAVEFORMATEXTENSIBLE channel mask."""

WAVE_ORDER = {
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""The usual order of channels by their number, in WAV, FLAC, AIFF and CAF."""

VORBIS_ORDER = {
    3: ("FL", "FC", "FR"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}
"""The order of Vorbis and Opus (Vorbis I specification, section 4.3.9)."""


def of_mask(mask: int, channels: int) -> tuple[str, ...]:
    """The speakers of a channel mask; none where it does not fit the number of channels."""
    speakers = tuple(name for bit, name in enumerate(SPEAKERS) if mask >> bit & 1)
    return speakers if len(speakers) == channels == mask.bit_count() else ()


class Downmix:
    """The way of a file's channels to those that are kept.

    Args:
        channels: of the file; one and two stay as they are.
        speakers: where each belongs; empty: the usual order, or no place at all.
        format: wav, ogg and so on, for the usual order.
    """

    def __init__(self, channels: int, speakers: tuple[str, ...], format: str) -> None:
        order = VORBIS_ORDER if format == "ogg" else WAVE_ORDER
        self._speakers = speakers if len(speakers) == channels else order.get(channels, ())
        self._source = channels
        self.channels = min(channels, 2)

    def __call__(self, block: FloatArray) -> FloatArray:
        """Samples (n, channels of the file) as (n, channels that are kept)."""
        if self._source <= 2:
            return block
        with np.errstate(all="ignore"):  # the caller refuses what is not finite
            return self._mixed(block)

    def _mixed(self, block: FloatArray) -> FloatArray:
        if not self._speakers:
            return np.repeat(block.mean(axis=1, keepdims=True, dtype=np.float32), 2, axis=1)
        gains = np.array([SPEAKERS[name] for name in self._speakers], np.float32)
        mixed: FloatArray = block @ gains
        return mixed

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must know of it."""
        if self._source <= 2:
            return ()
        if not self._speakers:
            return (f"{self._source} channels of unknown places: their mean is used on both sides",)
        effects = ", without the channel of low-frequency effects" if "LFE" in self._speakers else ""
        return (f"{self._source} channels ({' '.join(self._speakers)}) are mixed down to stereo{effects}",)
