"""Conditions of a song in training: its prompt and lyric tokens, and which of them are blanked for guidance.

The published rules are those of spec 05 sections 1.2 and 2. Nano's rules differ where inference differs from these:
lyrics are tokenised like a user's, instrumentals have their lyrics masked out, and blanked lyrics appear in both forms
of the null branch (zeros under their mask, and zeros that are masked out).
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
"""A word that is in no vocabulary, and the most of them that a prompt gets."""
INSTRUMENTAL = "[inst]"
TEMPO = re.compile(r"\b\d+(?= ?bpm\b)", re.IGNORECASE)

Rule = Literal["training", "inference"]


class ConditionSettings(RecipeSection):
    """The `conditions` section: prompts, lyrics, and how often they are blanked."""

    lyric_rule: Rule = Field(
        "training", description="How lyrics are tokenised: as in the published training, or as at inference."
    )
    shuffle_tags: bool = Field(True, description="Shuffle the tags of every prompt.")
    tempo_first: float = Field(
        0.0, ge=0, le=1, description="Share of prompts that put the tempo, if there is one, first."
    )
    drop_tag: float = Field(0.0, ge=0, lt=1, description="Probability of leaving out each tag.")
    tempo_jitter: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="Largest relative error of a tempo in the tags; it teaches that near numbers mean near tempos.",
    )
    stray: float = Field(
        0.0, ge=0, le=1, description="Share of prompts with unknown words among the tags; it teaches to ignore these."
    )
    drop_text: float = Field(objective.TEXT_DROPOUT, ge=0, lt=1, description="Probability of blanking a song's prompt.")
    drop_lyrics: float = Field(objective.LYRIC_DROPOUT, ge=0, lt=1, description="Probability of blanking its lyrics.")
    keep_lyric_mask: float = Field(0.0, ge=0, le=1, description="Share of blanked lyrics that keep their mask.")
    mark_instrumental: float = Field(
        0.0, ge=0, le=1, description="Share of songs without lyrics that get '[inst]' as lyrics."
    )


def prompt(
    tags: Sequence[str], recaptions: Mapping[str, str], settings: ConditionSettings, random: np.random.Generator
) -> str:
    """One description of a song, at most 256 characters: its tags or one of its other captions, with equal chances."""
    words = [tag for tag in tags if random.random() >= settings.drop_tag] if settings.drop_tag else list(tags)
    if settings.tempo_jitter:
        words = [_jitter_tempo(word, settings.tempo_jitter, random) for word in words]
    if settings.shuffle_tags:
        words = [words[position] for position in random.permutation(len(words))]
    if settings.tempo_first and random.random() < settings.tempo_first:
        words.sort(key=lambda word: not TEMPO.search(word))
    if settings.stray and random.random() < settings.stray:
        for _ in range(int(random.integers(1, MOST_STRAYS + 1))):
            words.insert(int(random.integers(len(words) + 1)), STRAY)
    candidates = [caption for caption in recaptions.values() if caption] + [", ".join(words) or NO_TAGS]
    return candidates[int(random.integers(len(candidates)))][:PROMPT_CHARACTERS]


def _jitter_tempo(tag: str, share: float, random: np.random.Generator) -> str:
    """`tag` with every tempo in it ("124 bpm") changed by up to `share` of itself."""
    return TEMPO.sub(lambda match: str(round(int(match[0]) * (1 + random.uniform(-share, share)))), tag)


class LyricIds:
    """Tokenises lyrics by the recipe's rule. Lyrics that cannot be tokenised count as none.

    Attributes:
        failed: how often lyrics could not be tokenised.
    """

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
    """Booleans (B,) of a batch: which prompts are blanked, which lyrics, and which blanked lyrics keep their mask."""

    text: Tensor
    lyrics: Tensor
    keep_mask: Tensor

    @classmethod
    def draw(cls, rows: int, settings: ConditionSettings, random: np.random.Generator) -> Blanks:
        """Draw which of `rows` rows are blanked, each row and part by itself."""
        chances = (settings.drop_text, settings.drop_lyrics, settings.keep_lyric_mask)
        return cls(*(torch.from_numpy(random.random(rows) < chance) for chance in chances))

    @classmethod
    def none(cls, rows: int) -> Blanks:
        """Blank nothing."""
        return cls(*(torch.zeros(rows, dtype=torch.bool) for _ in range(3)))

    @classmethod
    def all(cls, rows: int) -> Blanks:
        """Blank prompts and lyrics of all rows, and mask the lyrics out."""
        every = torch.ones(rows, dtype=torch.bool)
        return cls(every, every, ~every)

    def blank_text(self, states: Tensor) -> Tensor:
        """Text states (B, L, w) with zeros in blanked rows."""
        return states * ~self.text.to(states.device)[:, None, None]

    def blank_lyrics(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Lyric ids and mask (B, M). Blanked rows have zero ids, and a zero mask unless they keep theirs."""
        lyrics, keep = self.lyrics.to(ids.device), self.keep_mask.to(ids.device)
        return ids * ~lyrics[:, None], mask * (~lyrics | keep)[:, None]


def pad_rows(rows: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Stack rows (n,) of any length into (B, longest), zeros at their ends."""
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
