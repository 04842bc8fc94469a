"""The language of a line or of a whole song (spec 03 section 4.5 and spec 05 section 1.3)."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from acestep_flows.text.pinyin import is_written_pinyin
from acestep_flows.text.segments import Segment, Segmenter
from acestep_flows.values import Compatibility

logger = logging.getLogger(__name__)

MINIMUM_SHARE = 0.15
"""The share of the counts that a second language needs to replace English (only with "corrected")."""

_LINE_WITH_BREAKS = re.compile(r"[^\n]*\n+|[^\n]+")


def line_language(line: str, compatibility: Compatibility, fallback: str = "zh") -> str:
    """The code of the most frequent language in a line. A second language takes precedence over English.

    Args:
        fallback: the code of a line without a language. With "corrected" that is a line without letters; with
            "upstream", a blank line.
    """
    if compatibility == "corrected" and is_written_pinyin(line):
        return "zh"
    segmenter = Segmenter(compatibility)
    try:
        segmenter.segment(line.strip())
    except Exception as error:  # noqa: BLE001 - spec 03 section 4.5: any error means English
        logger.debug("assumed English for %r: %s", line[:80], error)
        return "en"
    return _decide(segmenter.counts, compatibility) or fallback


def song_segments(lyrics: str, compatibility: Compatibility) -> tuple[str, Sequence[Segment]]:
    """The most frequent language of a whole song and its segments, line by line, as in training."""
    segmenter = Segmenter(compatibility)
    segments = [segment for line in _LINE_WITH_BREAKS.findall(lyrics) for segment in segmenter.segment(line)]
    return (_ranked(segmenter.counts) or ["zh"])[0], segments


def _decide(counts: dict[str, int], compatibility: Compatibility) -> str:
    ranked = _ranked(counts)
    if len(ranked) < 2 or ranked[0] != "en":
        return ranked[0] if ranked else ""
    if compatibility == "corrected" and counts[ranked[1]] < MINIMUM_SHARE * sum(counts.values()):
        return "en"
    return ranked[1]


def _ranked(counts: dict[str, int]) -> list[str]:
    """Languages by falling count; of equal counts the language that came first."""
    return sorted(counts, key=lambda language: -counts[language])
