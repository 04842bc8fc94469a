"""Songs to listen to in the report: an excerpt, its spectrogram, and the texts of its inputs."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from html import escape
from typing import Any

from acestep_flows.audio import picture, read, write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.bulk.report.plots import number
from acestep_flows.bulk.results import ResultRow
from acestep_flows.errors import FlowsError
from acestep_flows.values import Audio

COUNT = 10
EXCERPT = 30.0
"""Seconds of each song in the page: ten whole songs would make it a hundred megabytes large."""
LONGEST_TEXT = 160

Load = Callable[[str], bytes]
"""The bytes of an audio file of the job, by its `audio_path`."""


@dataclass(frozen=True)
class Player:
    """One song of the page: the excerpt as MP3 and its spectrogram as PNG, or why there is none."""

    row: ResultRow
    sound: bytes = b""
    spectrogram: bytes = b""
    problem: str = ""


def chosen(count: int, seed: str) -> list[int]:
    """The indices of ten random songs among `count`, in order; the same for the same seed."""
    return sorted(random.Random(seed).sample(range(count), min(COUNT, count)))


def player(row: ResultRow, load: Load) -> Player:
    """The player of a finished song; if its file cannot be read, the player shows the error."""
    try:
        song = read.audio(load(row.audio_path or ""), name=row.audio_path or "audio")
        excerpt = Audio(song.samples[:, : round(EXCERPT * song.sample_rate)], song.sample_rate)
        sound = write.encode(excerpt, FORMATS["mp3"], subtype=None, tags=None).content
        return Player(row, sound, picture.strip(excerpt))
    except (FlowsError, OSError) as error:
        return Player(row, problem=str(error))


def html(player: Player, names: Collection[str] = ()) -> str:
    """The player as a card, with the texts of the inputs called `names`; of all inputs where it is empty."""
    row = player.row
    if player.problem:
        media = f'<p class="bad">{escape(player.problem)}</p>'
    else:
        media = (
            f'<img alt="spectrogram" src="data:image/png;base64,{_text(player.spectrogram)}">'
            f'<audio controls preload="none" src="data:audio/mpeg;base64,{_text(player.sound)}"></audio>'
        )
    words = f"<p>{_facts(row)}</p>{_words(row.inputs, names)}"
    return f'<article class="player"><h3>{escape(row.id)}</h3>{media}{words}</article>'


def _facts(row: ResultRow) -> str:
    measurements: dict[str, Any] = dict(row.measurements or {})
    facts = [f"seed {row.seed}"] if row.seed is not None else []
    facts += [f"{row.duration:.1f} s"] if row.duration is not None else []
    if row.duration is not None and row.duration > EXCERPT:
        facts[-1] += f" (the first {EXCERPT:.0f})"
    facts += [f"{measurements['loudness_lufs']:.1f} LUFS"] if measurements.get("loudness_lufs") is not None else []
    facts += [f"{number(measurements['tempo_bpm'])} bpm"] if measurements.get("tempo_bpm") is not None else []
    facts += [measurements["key"]] if measurements.get("key") else []
    facts += [f"attempt {row.attempt}"] if row.attempt > 1 else []
    return escape(", ".join(facts))


def _words(inputs: dict[str, Any], names: Collection[str]) -> str:
    """The texts of the inputs, shortened."""
    parts = []
    for name, value in inputs.items():
        if isinstance(value, str) and value and (name in names or not names):
            line = " / ".join(value.split("\n"))
            line = line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 3] + "..."
            parts.append(f"<dt>{escape(name)}</dt><dd>{escape(line)}</dd>")
    return f"<dl>{''.join(parts)}</dl>" if parts else ""


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
