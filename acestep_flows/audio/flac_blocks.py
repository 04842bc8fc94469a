"""The metadata blocks of a FLAC file, which stand before its frames."""

from __future__ import annotations

MARKER = b"fLaC"
LAST_BLOCK = 0x80
"""Set in the first byte of the last block; the other bits are its type. Three bytes follow with its length."""


def with_blocks_of(flac: bytes, other: bytes) -> bytes:
    """`flac` with the metadata of `other`, but with its own STREAMINFO, the first block, which describes its frames."""
    (begin, info), frames = _blocks(flac)[0], _blocks(flac)[-1][1]
    (_, start), end = _blocks(other)[0], _blocks(other)[-1][1]
    # STREAMINFO is the last block where no other one follows.
    first = flac[begin] | LAST_BLOCK if start == end else flac[begin] & ~LAST_BLOCK
    return b"".join((MARKER, bytes([first]), flac[begin + 1 : info], other[start:end], flac[frames:]))


def _blocks(flac: bytes) -> list[tuple[int, int]]:
    """Where each block begins and ends."""
    blocks, at, last = list[tuple[int, int]](), len(MARKER), False
    while not last:
        last = bool(flac[at] & LAST_BLOCK)
        end = at + 4 + int.from_bytes(flac[at + 1 : at + 4])
        blocks.append((at, end))
        at = end
    return blocks
