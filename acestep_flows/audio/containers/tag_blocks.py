"""Tags of players before and after the sound: ID3 and APE."""

from __future__ import annotations

import struct

from acestep_flows.audio.containers.pieces import Window

APE_FOOTER, ID3V1 = 32, 128  # bytes


def after_id3(window: Window, position: int = 0) -> int:
    """Where the ID3v2 tags at `position` end."""
    while len(head := window.read(position, 10)) == 10 and head[:3] == b"ID3" and max(head[6:]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        position += 10 + size + (10 if head[5] & 0x10 else 0)
    return position


def after_zeros(window: Window, position: int) -> int:
    """Where the zeros at `position` end."""
    while content := window.read(position, 4096):
        if rest := content.lstrip(b"\0"):
            return position + len(content) - len(rest)
        position += len(content)
    return position


def end_of_audio(window: Window) -> int:
    """Where ID3v1 and APE tags at the end of a file begin."""
    end = window.size
    if window.read(max(0, end - ID3V1), 3) == b"TAG":
        end -= ID3V1
    footer = window.read(max(0, end - APE_FOOTER), APE_FOOTER)
    if footer[:8] == b"APETAGEX":
        size, _, flags = struct.unpack_from("<III", footer, 12)
        end -= min(end, size + (APE_FOOTER if flags & 1 << 31 else 0))
    return end
