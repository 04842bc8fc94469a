"""Files that are sound, or hold some, but are not read: known by their first bytes, and answered with what to do."""

from __future__ import annotations

import shlex
from pathlib import PurePath

STARTS = (
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (wma)"),
    (b"ADIF", "AAC"),
    (b"#!AMR", "AMR"),
    (b"MAC ", "Monkey's Audio (ape)"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "True Audio"),
    (b"DSD ", "DSD"),
    (b"FRM8", "DSD"),
    (b"FLV\x01", "Flash video"),
    (b".snd", "AU"),
    (b"dns.", "AU"),
    (b".RMF", "RealMedia"),
    (b"Creative Voice File", "VOC"),
    (b"\x00\x00\x01\xba", "MPEG video"),
    (b"\x00\x00\x01\xb3", "MPEG video"),
)
"""Formats that ffmpeg converts, by their first bytes."""

NOTES = (b"MThd", "MIDI")
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


def name(head: bytes) -> str | None:
    """The name of the format of a file that begins with `head` (20 bytes); None if it is not known."""
    for start, format in STARTS:
        if head.startswith(start):
            return format
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    if head[:4] == b"FORM" and head[8:12] == b"8SVX":
        return "8SVX"
    if head[4:8] in MP4_BOXES:
        return "M4A or MP4"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13:
        return "AAC"
    return NOTES[1] if head.startswith(NOTES[0]) else None


def advice(format: str, file: str) -> str:
    """What to do with a file of such a format, in a few words. `file` is its path; empty: not for the user to know."""
    if format == NOTES[1]:
        return "notes are no sound; render them with a synthesiser first"
    path = PurePath(file or "FILE")
    source, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".flac")))
    return f"convert it first: ffmpeg -i {source} -vn {target}"
