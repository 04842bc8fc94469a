"""The words of the synthetic singer, their syllables, and lines of lyrics.

A syllable is written `onset:vowel:coda`, consonants spelled one by one ("fl:ai:" is *fly*). The vocabulary is small so
that a small model can learn it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WORDS: dict[str, tuple[str, ...]] = {
    # pronouns and small words
    "I": (":ai:",), "you": ("y:u:",), "we": ("w:i:",), "me": ("m:i:",), "the": ("d:uh:",), "my": ("m:ai:",),
    "a": (":uh:",), "to": ("t:u:",), "by": ("b:ai:",), "in": (":i:n",), "over": (":ou:", "v:er:"),
    "under": (":uh:n", "d:er:"),
    # verbs
    "see": ("s:i:",), "sing": ("s:i:n",), "go": ("g:ou:",), "fly": ("fl:ai:",), "run": ("r:uh:n",),
    "dream": ("dr:i:m",), "feel": ("f:i:l",), "know": ("n:ou:",), "love": ("l:uh:v",), "stay": ("st:ei:",),
    "follow": ("f:o:", "l:ou:"), "move": ("m:u:v",), "call": ("k:o:l",), "shine": ("sh:ai:n",),
    # nouns
    "sky": ("sk:ai:",), "sea": ("s:i:",), "moon": ("m:u:n",), "sun": ("s:uh:n",), "rain": ("r:ei:n",),
    "day": ("d:ei:",), "night": ("n:ai:t",), "light": ("l:ai:t",), "road": ("r:ou:d",), "home": ("h:ou:m",),
    "town": ("t:au:n",), "time": ("t:ai:m",), "river": ("r:i:", "v:er:"), "summer": ("s:uh:", "m:er:"),
    "city": ("s:i:", "t:i:"), "morning": ("m:o:", "n:i:n"), "water": ("w:o:", "t:er:"), "shadow": ("sh:ae:", "d:ou:"),
    "window": ("w:i:n", "d:ou:"),
    # endings and calls
    "now": ("n:au:",), "away": (":uh:", "w:ei:"), "tonight": ("t:u:", "n:ai:t"), "alone": (":uh:", "l:ou:n"),
    "hello": ("h:e:", "l:ou:"), "oh": (":ou:",), "la": ("l:a:",), "na": ("n:a:",), "hey": ("h:ei:",), "ooh": (":u:",),
}  # fmt: skip

HYPHENS = "o-ver un-der fol-low ri-ver sum-mer ci-ty mor-ning wa-ter sha-dow win-dow a-way to-night a-lone hel-lo"
"""The written syllables of the words that have more than one."""

_CLASSES = {
    "who": ("I", "you", "we"),
    "verb": ("see", "sing", "go", "fly", "run", "dream", "feel", "know", "love", "stay", "follow", "move", "call",
             "shine"),
    "see": ("see", "feel", "know", "love", "follow", "call"),
    "noun": ("sky", "sea", "moon", "sun", "rain", "day", "night", "light", "road", "town", "river", "summer", "city",
             "morning", "water", "shadow", "window"),
    "one": ("the", "my", "a"),
    "near": ("to", "by", "in", "over", "under"),
    "end": ("now", "away", "tonight", "alone", "home"),
    "call": ("oh", "hey", "hello", "ooh"),
    "la": ("la", "na"),
}  # fmt: skip
_LINES = (
    "who see one noun",
    "who verb near one noun",
    "who verb end",
    "verb near one noun end",
    "call call who see me",
    "verb end who verb end",
    "la la la la",
    "call la la la la",
    "near one noun who verb",
    "one noun near one noun",
    "see me end",
    "sing to me my love",
)


@dataclass(frozen=True)
class Syllable:
    """The sounds of one syllable."""

    onset: tuple[str, ...]
    vowel: str
    coda: tuple[str, ...]


def parse(code: str) -> Syllable:
    """Read `onset:vowel:coda`."""
    onset, vowel, coda = code.split(":")
    return Syllable(_consonants(onset), vowel, _consonants(coda))


def _consonants(letters: str) -> tuple[str, ...]:
    return tuple("sh" if part == "\0" else part for part in letters.replace("sh", "\0"))


def syllables() -> tuple[str, ...]:
    """All syllables of the lexicon, sorted."""
    return tuple(sorted({code for codes in WORDS.values() for code in codes}))


def written_syllables() -> tuple[str, ...]:
    """All syllables as they are written, in lower case, sorted."""
    cut = {"".join(parts): parts for parts in (word.split("-") for word in HYPHENS.split())}
    return tuple(sorted({part for word in WORDS for part in cut.get(word, [word.lower()])}))


def line(random: np.random.Generator, least: int, most: int) -> list[str]:
    """Draw a line of words with `least` to `most` syllables."""
    while True:
        words = [
            str(random.choice(_CLASSES[slot])) if slot in _CLASSES else slot
            for slot in str(random.choice(_LINES)).split()
        ]
        if least <= sum(len(WORDS[word]) for word in words) <= most:
            return words
