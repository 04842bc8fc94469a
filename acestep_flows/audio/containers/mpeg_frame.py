"""Headers of MPEG audio frames, and the frames in front of a stream that hold no sound but say how long it is."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache

RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz by version bits: MPEG 1, 2 and 2.5."""

KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates in kbit/s by MPEG 1 or not, and layer."""

MONO = 3
XING_BYTES = 120  # of a Xing tag with all its fields


@dataclass(frozen=True)
class Frame:
    """What a frame's header says.

    Attributes:
        size: bytes of the frame, header included; 0 for free format, which does not say.
        samples: in each channel.
        rate: in Hz.
        channels: 1 or 2.
        layer: 1 to 3.
        side: bytes of side information behind the header, where a Xing tag stands (layer 3).
    """

    size: int
    samples: int
    rate: int
    channels: int
    layer: int
    side: int

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What all frames of a stream have in common."""
        return self.layer, self.rate, self.samples, self.channels


_SECOND = [byte for byte in range(0xE0, 0x100) if byte >> 3 & 3 != 1 and byte >> 1 & 3]
_THIRD = [byte for byte in range(0x10, 0xF0) if byte >> 2 & 3 != 3]
_FOURTH = [byte for byte in range(0x100) if byte & 3 != 2]
HEADER = re.compile(
    rb"\xff" + b"".join(b"[%s]" % re.escape(bytes(each)) for each in (_SECOND, _THIRD, _FOURTH)), re.DOTALL
)
"""Every header of a frame that tells its size."""


@lru_cache(maxsize=4096)
def frame(header: bytes) -> Frame | None:
    """The frame that the four bytes `header` begin; None if they begin none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kbits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits == 15 or rate == 3 or header[3] & 3 == 2:
        return None
    hertz, padding = RATES[version][rate], header[2] >> 1 & 1
    bits = KBITS[version == 3, layer][kbits] * 1000
    if layer == 1:
        samples, size = 384, (12 * bits // hertz + padding) * 4
    else:
        samples = 576 if layer == 3 and version != 3 else 1152
        size = samples // 8 * bits // hertz + padding
    mono = header[3] >> 6 == MONO
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return Frame(size if bits else 0, samples, hertz, 1 if mono else 2, layer, side)


@dataclass(frozen=True)
class LengthTag:
    """A Xing, Info or VBRI tag.

    Attributes:
        frames: how many frames it promises; None: it does not say.
        offset: of the tag in its frame.
        vbri: whether it is one of Fraunhofer's.
    """

    frames: int | None
    offset: int
    vbri: bool = False


def length_tag(content: bytes) -> LengthTag | None:
    """The tag in the frame `content`; None for a frame with sound."""
    found = frame(content[:4])
    if found is None or found.layer != 3:
        return None
    for offset in (4 + found.side, 6 + found.side):  # behind a check sum, if there is one
        if content[offset : offset + 4] in (b"Xing", b"Info"):
            flags, frames = struct.unpack(">II", content[offset + 4 : offset + 12].ljust(8, b"\0"))
            return LengthTag(frames if flags & 1 else None, offset)
    if content[36:40] == b"VBRI" and len(content) >= 54:
        return LengthTag(struct.unpack_from(">I", content, 50)[0], 36, vbri=True)
    return None


def corrected(content: bytes, tag: LengthTag, frames: int, size: int) -> bytes:
    """A frame with a Xing tag, with the true number of frames and bytes. Its other fields stay."""
    start = tag.offset + 4
    flags = struct.unpack_from(">I", content, start)[0]
    body = bytearray(content)
    struct.pack_into(">I", body, start + 4, frames)
    if flags & 2:
        struct.pack_into(">I", body, start + 8, size + len(content))
    return bytes(body)


def made(header: bytes, frames: int, size: int) -> bytes | None:
    """A frame with a Xing tag for a stream whose frames begin as `header`; None for layers 1 and 2."""
    for kbits in range(1, 15):
        start = bytes([0xFF, header[1] | 1, kbits << 4 | header[2] & 0x0C, header[3]])
        found = frame(start)
        if found is not None and found.layer == 3 and found.size >= 4 + found.side + XING_BYTES:
            tag = b"Xing" + struct.pack(">III", 3, frames, size + found.size)
            return (start + bytes(found.side) + tag).ljust(found.size, b"\0")
    return None
