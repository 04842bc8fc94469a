"""What a song in training is told to be: its prompt and lyric tokens, and what is blanked so that guidance works.

The published rules are those of spec 05 sections 1.2 and 2. Nano's differ where inference differs from them: lyrics
tokenised as a user's are, instrumentals with lyrics masked out, and the blanked lyrics in both forms that the null
branch takes (zeros under the mask they had, and zeros masked out).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from acestep_flows.errors import FlowsError
from acestep_flows.text.lyrics import LyricTokenizer
from acestep_flows.training.kinds import objective
from acestep_flows.training.loop.recipe import RecipeSection

PROMPT_CHARACTERS = 256
NO_TAGS = "music"
STRAY, MOST_STRAYS = "\N{ASTERISM}", 4
"""A word that is in no vocabulary, and how many of them a prompt gets at most."""
INSTRUMENTAL = "[inst]"
TEMPO = re.compile(r"\b\d+(?= ?bpm\b)", re.IGNORECASE)

Rule = Literal["training", "inference"]


class ConditionSettings(RecipeSection):
    """How songs are described, and how often not."""

    lyric_rule: Rule = Field(
        "training", description="How lyrics become tokens: as the published model learnt them, or as a user's are."
    )
    shuffle_tags: bool = Field(True, description="Give the tags in another order each time.")
    tempo_first: float = Field(
        0.0, ge=0, le=1, description="Share of prompts in which the tempo, where one is told, stands before all else."
    )
    drop_tag: float = Field(0.0, ge=0, lt=1, description="Chance of each tag to be left out.")
    tempo_jitter: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="How far, as a share, a tempo in the tags may be off: near numbers so come to mean near tempos.",
    )
    stray: float = Field(
        0.0, ge=0, le=1, description="Share of songs with unknown words among the tags, which so come to mean nothing."
    )
    drop_text: float = Field(objective.TEXT_DROPOUT, ge=0, lt=1, description="Chance of a song's text to be blanked.")
    drop_lyrics: float = Field(objective.LYRIC_DROPOUT, ge=0, lt=1, description="The same for its lyrics.")
    keep_lyric_mask: float = Field(0.0, ge=0, le=1, description="Share of blanked lyrics that keep their mask.")
    mark_instrumental: float = Field(
        0.0, ge=0, le=1, description="Share of songs without lyrics that get '[inst]' for lyrics."
    )


def prompt(
    tags: Sequence[str], recaptions: Mapping[str, str], settings: ConditionSettings, random: np.random.Generator
) -> str:
    """One description of a song: its tags or one of its other captions, each as likely, at most 256 characters."""
    words = [tag for tag in tags if random.random() >= settings.drop_tag] if settings.drop_tag else list(tags)
    if settings.tempo_jitter:
        words = [_jittered(word, settings.tempo_jitter, random) for word in words]
    if settings.shuffle_tags:
        words = [words[place] for place in random.permutation(len(words))]
    if settings.tempo_first and random.random() < settings.tempo_first:
        words.sort(key=lambda word: not TEMPO.search(word))
    if settings.stray and random.random() < settings.stray:
        for _ in range(int(random.integers(1, MOST_STRAYS + 1))):
            words.insert(int(random.integers(len(words) + 1)), STRAY)
    candidates = [caption for caption in recaptions.values() if caption] + [", ".join(words) or NO_TAGS]
    return candidates[int(random.integers(len(candidates)))][:PROMPT_CHARACTERS]


def _jittered(tag: str, share: float, random: np.random.Generator) -> str:
    """`tag` with each "124 bpm" in it up to `share` faster or slower."""
    return TEMPO.sub(lambda found: str(round(int(found[0]) * (1 + random.uniform(-share, share)))), tag)


class LyricIds:
    """Token ids and mask of a song's lyrics; what cannot be tokenised counts as no lyrics and is counted."""

    def __init__(self, tokenizer: LyricTokenizer, settings: ConditionSettings) -> None:
        self._tokenizer, self._settings = tokenizer, settings
        self._cached = lru_cache(maxsize=65536)(self._tokenize)
        self.failed = 0

    def of(self, lyrics: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids (L,) and mask (L,) of lyrics."""
        return self._cached(lyrics)

    def _tokenize(self, lyrics: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        try:
            if self._settings.lyric_rule == "training":
                ids = self._tokenizer.training_ids(lyrics, compatibility="corrected")
                return ids, np.ones(len(ids), np.float32)
            tokens = self._tokenizer.encode(lyrics, compatibility="corrected")
        except FlowsError:
            self.failed += 1
            return np.zeros(1, np.int64), np.zeros(1, np.float32)
        return tokens.ids, tokens.mask


@dataclass(frozen=True)
class Blanks:
    """Which rows of a batch are to forget what: text (B,), lyrics (B,), and whether blanked lyrics keep their mask."""

    text: Tensor
    lyrics: Tensor
    keep_mask: Tensor

    @classmethod
    def draw(cls, rows: int, settings: ConditionSettings, random: np.random.Generator) -> Blanks:
        """Each row by its own chances."""
        chances = (settings.drop_text, settings.drop_lyrics, settings.keep_lyric_mask)
        return cls(*(torch.from_numpy(random.random(rows) < chance) for chance in chances))

    @classmethod
    def none(cls, rows: int) -> Blanks:
        return cls(*(torch.zeros(rows, dtype=torch.bool) for _ in range(3)))

    @classmethod
    def all(cls, rows: int) -> Blanks:
        every = torch.ones(rows, dtype=torch.bool)
        return cls(every, every, ~every)

    def blank_text(self, states: Tensor) -> Tensor:
        """Text states (B, L, w), zeros in blanked rows."""
        return states * ~self.text.to(states.device)[:, None, None]

    def blank_lyrics(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Lyric ids and mask (B, M), ids zero in blanked rows, and the mask where it is not kept."""
        lyrics, keep = self.lyrics.to(ids.device), self.keep_mask.to(ids.device)
        return ids * ~lyrics[:, None], mask * (~lyrics | keep)[:, None]


def pad_rows(rows: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Rows (n,) of any length as (B, longest), zeros behind."""
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
