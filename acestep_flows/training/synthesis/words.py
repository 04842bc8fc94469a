"""Tags of a clip in the usual wording, and the vocabulary of tags and lyrics."""

from __future__ import annotations

import re

from acestep_flows.training.synthesis.arrangement import stream
from acestep_flows.training.synthesis.compose import TEMPOS
from acestep_flows.training.synthesis.instruments import INSTRUMENTS
from acestep_flows.training.synthesis.lexicon import WORDS
from acestep_flows.training.synthesis.score import Truth
from acestep_flows.training.synthesis.singer import VOICES
from acestep_flows.training.synthesis.styles import STYLES
from acestep_flows.training.synthesis.theory import KEYS, MODES, key_name

PACES = ((75, "very slow"), (95, "slow"), (120, "medium tempo"), (145, "fast"), (1000, "very fast"))
SECTIONS = ("intro", "verse", "chorus", "outro", "instrumental")


def pace(tempo: int) -> str:
    """A word for a tempo, such as "slow"."""
    return next(word for limit, word in PACES if tempo < limit)


def tags(truth: Truth, seed: int) -> str:
    """The tags of a clip, comma separated: "house, synth lead, drums, 124 bpm, A minor, male vocal".

    Half of the clips have a word for the pace, and half have the mood. All tags are true of the clip.
    """
    draw = stream(seed, "tags")
    words = [truth.style, *reversed(truth.instruments)]
    if truth.drums:
        words.append("drums")
    words += [f"{truth.tempo} bpm", key_name(truth.key, truth.mode)]
    if draw.random() < 0.5:
        words.append(pace(truth.tempo))
    if truth.vocal:
        words.append(f"{truth.vocal} vocal")
    elif draw.random() < 0.5:
        words.append("instrumental")
    if truth.mood and draw.random() < 0.5:
        words.append(truth.mood)
    return ", ".join(words)


def split(text: str) -> list[str]:
    """Split tags or lyrics into words. Brackets, commas and line ends are words of their own."""
    return re.findall(r"[A-Za-z0-9#']+|[^\sA-Za-z0-9#']|\n", text)


def vocabulary() -> list[str]:
    """Every word that tags and lyrics can contain, sorted, without punctuation."""
    phrases = [
        *STYLES, *(mood for style in STYLES.values() for mood in style.moods), *INSTRUMENTS,
        *(word for _, word in PACES), *SECTIONS, *KEYS, *MODES, *VOICES, *WORDS,
        "drums", "vocal", "instrumental", "bpm",
        *(str(tempo) for tempo in range(TEMPOS[0], TEMPOS[1] + 1)),
    ]  # fmt: skip
    return sorted({word for phrase in phrases for word in phrase.split()})
