"""Tempos in tags: "128 bpm", "bpm: 128"."""

from __future__ import annotations

import re

_TEMPO = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)[ \t-]?bpm\b|\bbpm[ \t]*[:=]?[ \t]*(\d+(?:\.\d+)?)(?![\w.])", re.IGNORECASE
)
_TAG = re.compile(r"[^,;\n]+")


def tempos(tags: str) -> tuple[float, ...]:
    """All tempos in `tags` in beats per minute, in their order, each once."""
    numbers = (float(match[1] or match[2]) for match in _TEMPO.finditer(tags))
    return tuple(dict.fromkeys(numbers))


def tempo_first(tags: str) -> str:
    """`tags` with those that have a tempo moved to the front; unchanged where there are none, or they are there."""
    parts = [part.strip() for part in _TAG.findall(tags)]
    if not tempos(tags) or len(parts) < 2 or _TEMPO.search(parts[0]):
        return tags
    return ", ".join(sorted(parts, key=lambda part: not _TEMPO.search(part)))
