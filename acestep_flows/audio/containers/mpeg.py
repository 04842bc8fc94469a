"""MP3: the frames are counted, and a true Xing tag stands before them.

libsndfile reads as many samples as a Xing tag promises, or guesses from the first frame's bit rate. Both are often
wrong: streams have no tag, joined files have that of their first part, and cut files promise what they had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from acestep_flows.audio.containers import mpeg_free
from acestep_flows.audio.containers.container import Container, Missing, Part, Unreadable, lacking
from acestep_flows.audio.containers.mpeg_frame import HEADER, Frame, LengthTag, corrected, frame, length_tag, made
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window
from acestep_flows.audio.containers.tag_blocks import after_id3

FRAME_OR_TAG = re.compile(HEADER.pattern + rb"|ID3[\0-\x0f]", re.DOTALL)

FARTHEST_START = 1 << 20
"""Bytes of anything else before the first frame."""

MOST_TRIES = 200_000
"""Places that look like a frame and are none, between two frames, after which the rest of a file is left."""

CERTAIN = 3
"""Frames one after another that make sure a file is MP3, if it does not end before."""


@dataclass
class _FrameRun:
    """Frames of one kind, from one length tag to the next."""

    header: bytes
    kind: Frame
    tag: LengthTag | None = None
    tag_frame: bytes = b""
    slices: list[Slice] = field(default_factory=list)
    frames: int = 0

    def add(self, start: int, size: int) -> None:
        last = self.slices[-1] if self.slices else None
        if last is not None and last.start + last.size == start:
            self.slices[-1] = Slice(last.start, last.size + size)
        else:
            self.slices.append(Slice(start, size))
        self.frames += 1

    def part(self) -> Part:
        """A file of these frames alone. One whose tag is right, within a frame, stays as it is."""
        size = sum(piece.size for piece in self.slices)
        tag = self.tag
        if tag is not None and tag.frames is not None and abs(tag.frames - self.frames) <= 1:
            first = self.tag_frame
        elif tag is None or tag.vbri or tag.frames is None:
            first = made(self.header, self.frames, size) or b""
        else:
            first = corrected(self.tag_frame, tag, self.frames, size)
        return Part(Pieces([first, *self.slices]), rate=self.kind.rate)

    def missing(self) -> Missing | None:
        """What the tag promises more than there is."""
        if self.tag is None or self.tag.frames is None:
            return None
        return lacking((self.tag.frames - self.frames) * self.kind.samples / self.kind.rate)


def examine(window: Window, start: int) -> Container | None:
    """The container of a file whose frames begin at or after byte `start`; None if it is no MP3.

    Raises:
        Unreadable: there are frames, but none with sound.
    """
    first = _next(window, start, min(window.size, start + FARTHEST_START))
    if first is None:
        return mpeg_free.examine(window, start)
    streams = [stream for stream in _streams(window, first) if stream.frames]
    if not streams:
        raise Unreadable("no whole frame")
    missing = streams[-1].missing()
    if first != start:  # players that find stray bytes before the first frame take its tag for sound
        streams[0].tag = None
    parts = [_joined(list(alike)).part() for _, alike in groupby(streams, lambda stream: stream.kind.key)]
    return Container("mp3", tuple(parts), missing)


def _joined(streams: list[_FrameRun]) -> _FrameRun:
    """Streams of one kind as one, whose length no tag says."""
    if len(streams) == 1:
        return streams[0]
    slices = [piece for stream in streams for piece in stream.slices]
    return _FrameRun(streams[0].header, streams[0].kind, slices=slices, frames=sum(each.frames for each in streams))


def _streams(window: Window, position: int) -> Iterator[_FrameRun]:
    stream: _FrameRun | None = None
    while True:
        header = window.read(position, 4)
        found = frame(header)
        changed = found is not None and stream is not None and found.key != stream.kind.key
        if found is None or found.size == 0 or (changed and not _certain(window, position)):
            following = _next(window, position + 1, window.size)
            if following is None:
                break
            position = following
            continue
        if position + found.size > window.size:  # the last frame is incomplete
            break
        tag = length_tag(window.read(position, found.size)) if _may_be_tag(window, position, found) else None
        if stream is None or tag is not None or found.key != stream.kind.key:
            if stream is not None:
                yield stream
            stream = _FrameRun(header, found)
        if tag is not None:
            stream.tag, stream.tag_frame = tag, window.read(position, found.size)
        else:
            stream.add(position, found.size)
        position += found.size
    if stream is not None:
        yield stream


def _may_be_tag(window: Window, position: int, found: Frame) -> bool:
    """A quick look, for every frame: whether a tag's first letter stands where tags do."""
    start = window.read(position, 46)
    return start[4 + found.side : 5 + found.side] in b"XI" or start[6 + found.side : 7 + found.side] in b"XI" or (
        start[36:40] == b"VBRI"
    )  # fmt: skip


def _next(window: Window, position: int, end: int) -> int | None:
    """Where the next frame begins that others of its kind follow; None if there is none before `end`."""
    for _ in range(MOST_TRIES):
        position = window.find(FRAME_OR_TAG, 4, position)
        if position >= end:
            break
        if window.read(position, 3) == b"ID3":  # of a file that was joined to another
            position = max(position + 3, after_id3(window, position))
            continue
        if _certain(window, position):
            return position
        position += 1
    return None


def _certain(window: Window, position: int) -> bool:
    first = frame(window.read(position, 4))
    if first is None or first.size == 0:
        return False
    for _ in range(CERTAIN - 1):
        found = frame(window.read(position, 4))
        if found is None or found.size == 0 or found.key != first.key:
            return False
        position += found.size
        if position >= window.size:  # a file that ends here
            return position == window.size
    found = frame(window.read(position, 4))
    return window.size - position < 4 or (found is not None and found.key == first.key)
