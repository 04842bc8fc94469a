"""The language of a line as upstream finds it, and of a whole song in training.

The rules are those of spec 03 section 4.5 and spec 05 section 1.3.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from acestep_flows.text.segments import Segment, Segmenter
from acestep_flows.values import Compatibility

logger = logging.getLogger(__name__)

_LINE_WITH_BREAKS = re.compile(r"[^\n]*\n+|[^\n]+")


def line_language(line: str) -> str:
    """The code of the most frequent language in a line, as upstream finds it.

    A second language takes precedence over English. Lines without any language are Chinese; those on which the
    segmenter fails are English.
    """
    segmenter = Segmenter("upstream")
    try:
        segmenter.segment(line.strip())
    except Exception as error:  # noqa: BLE001 - spec 03 section 4.5: any error means English
        logger.debug("assumed English for %r: %s", line[:80], error)
        return "en"
    ranked = _ranked(segmenter.counts)
    if len(ranked) >= 2 and ranked[0] == "en":
        return ranked[1]
    return ranked[0] if ranked else "zh"


def song_segments(lyrics: str, compatibility: Compatibility) -> tuple[str, Sequence[Segment]]:
    """The most frequent language of a whole song and its segments, line by line, as in training."""
    segmenter = Segmenter(compatibility)
    segments = [segment for line in _LINE_WITH_BREAKS.findall(lyrics) for segment in segmenter.segment(line)]
    return (_ranked(segmenter.counts) or ["zh"])[0], segments


def _ranked(counts: dict[str, int]) -> list[str]:
    """Languages by falling count; of equal counts the language that came first."""
    return sorted(counts, key=lambda language: -counts[language])
