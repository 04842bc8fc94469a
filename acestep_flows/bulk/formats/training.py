"""A folder to train ACE-Step from: for every song an MP3, its tags and its lyrics (spec 05 section 1.1)."""

from __future__ import annotations

from collections.abc import Sequence

from acestep_flows.audio import read
from acestep_flows.audio import write as writing
from acestep_flows.audio.formats import FORMATS
from acestep_flows.bulk.formats.parts import read_audio
from acestep_flows.bulk.identity import stem
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.words import final_tags_and_lyrics


def write(job_folder: JobFolder, folder: str, prefix: str, job: BulkJob, rows: Sequence[ResultRow]) -> list[str]:
    """Write `rows` to `folder`; returns the names of all files. They are named by song, so `prefix` is not used."""
    names: list[str] = []
    for row in rows:
        name, (tags, lyrics) = stem(row.id), final_tags_and_lyrics(row.inputs)
        contents = {
            f"{name}.mp3": _mp3(read_audio(job_folder, row), row.audio_path or ""),
            f"{name}_prompt.txt": tags.encode(),
            f"{name}_lyrics.txt": lyrics.encode(),
        }
        for file, content in contents.items():
            job_folder.write(f"{folder}/{file}", content)
        names += contents
    return names


def _mp3(content: bytes, path: str) -> bytes:
    """The song as MP3, the only format that the original's loader reads; an MP3 is not encoded again."""
    if path.endswith(".mp3"):
        return content
    song = read.audio(content, name=path)
    return writing.encode(song, FORMATS["mp3"], subtype=None, tags=None).content
