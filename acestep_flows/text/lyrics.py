"""Lyrics to token ids, in the form of inference and in the form of training (spec 03 section 2)."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.text.identify import line_language, song_segments
from acestep_flows.text.languages import SUPPORTED, check_language, encoding_language, language_token
from acestep_flows.text.normalize import normalize
from acestep_flows.text.prompt import check_lyrics
from acestep_flows.values import Compatibility

if TYPE_CHECKING:
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

MAX_TOKENS = 4096
"""The longest sequence of tokens in the model's training."""

STRUCTURE = (
    *("[start]", "[intro]", "[verse]", "[chorus]", "[bridge]", "[outro]"),
    *("[end]", "[inst]", "[solo]", "[hook]", "[pre-chorus]", "[break]"),
)
"""Tokens for the parts of a song. Lyrics may contain them anywhere."""

_STRUCTURE_LINE = re.compile(r"\[.*?\]")


@dataclass(frozen=True)
class LineReport:
    """The result of tokenising one line.

    Attributes:
        text: the line, without blanks at its ends.
        detected: the language detected in it, one of 97 codes; empty for blank lines.
        language: the language it is encoded in; empty for blank lines.
        normalized: the line with numbers and symbols as words: the text that was tokenised.
        ids: its tokens, with the language token, without the separator after it.
        skipped: why the line was left out; empty if it was not.
    """

    text: str
    detected: str = ""
    language: str = ""
    normalized: str = ""
    ids: tuple[int, ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class TokenizedLyrics:
    """The input of the lyric encoder.

    Attributes:
        ids: (L,) token ids.
        mask: (L,) ones; a single zero for empty lyrics.
        lines: one report per line.
        warnings: messages for the user about lines left out or cut.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.float32]
    lines: tuple[LineReport, ...] = ()
    warnings: tuple[str, ...] = ()


class LyricTokenizer:
    """Tokenises lyrics with a vocabulary file in the format of the `tokenizers` library.

    Special tokens are found by name. Threads may share one object.

    Raises:
        CheckpointError: the file is missing, is not a vocabulary, or lacks a token.
    """

    def __init__(self, vocab: Path) -> None:
        self._tokenizer = _read(vocab)
        names = ("[STOP]", "[UNK]", "[SPACE]", "[START]", *map(language_token, SUPPORTED))
        self._id = {name: number for name in names if (number := self._tokenizer.token_to_id(name)) is not None}
        if missing := [name for name in names if name not in self._id]:
            raise CheckpointError(f"lacks {', '.join(missing)}", where=str(vocab), allowed="the lyric vocabulary")
        added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        self._control_splits = _split_points(added - set(STRUCTURE))

    def encode(
        self,
        lyrics: str,
        *,
        compatibility: Compatibility,
        language: str | None = None,
        line_languages: Mapping[int, str] | None = None,
    ) -> TokenizedLyrics:
        """Tokenise whole lyrics. Empty lyrics give a single masked 0.

        Args:
            language: the language of all lines; by default each line's language is detected.
            line_languages: languages of single lines, counted from 1; they take precedence over `language`.

        Raises:
            InputError: unusable lyrics (see `check_lyrics`) or an unknown language.
        """
        check_lyrics(lyrics)
        hints = {number: check_language(code, f"line {number}") for number, code in (line_languages or {}).items()}
        default = None if language is None else check_language(language)
        if not lyrics:
            return TokenizedLyrics(np.zeros(1, np.int64), np.zeros(1, np.float32))
        lines = [line.strip() for line in lyrics.split("\n")]
        languages = [hints.get(number, default) for number in range(1, len(lines) + 1)]
        return self.encode_lines(lines, _detect(lines, languages, compatibility), compatibility=compatibility)

    def encode_lines(
        self, lines: Sequence[str], detected: Sequence[str], *, compatibility: Compatibility
    ) -> TokenizedLyrics:
        """Tokenise stripped lines whose languages are known: [START], then each line and a separator."""
        limit = MAX_TOKENS if compatibility == "corrected" else None
        ids, reports, warnings = [self._id["[START]"]], list[LineReport](), list[str]()
        for number, (line, code) in enumerate(zip(lines, detected, strict=True), start=1):
            report = self.encode_line(line, code, compatibility=compatibility) if line else LineReport(line)
            reports.append(report)
            if report.skipped:
                warnings.append(f"line {number} was left out: {report.skipped}")
                continue
            ids += [*report.ids, self._id["[SPACE]"]]
            if limit is not None and len(ids) > limit:
                warnings.append(f"the model reads {limit} tokens: lyrics are cut in line {number} of {len(lines)}")
                beyond = f"beyond the {limit} tokens that the model reads"
                reports += [LineReport(rest, skipped=beyond) for rest in lines[number:]]
                break
        array = np.array(ids[:limit], np.int64)
        return TokenizedLyrics(array, np.ones(len(array), np.float32), tuple(reports), tuple(warnings))

    def encode_line(self, line: str, detected: str, *, compatibility: Compatibility) -> LineReport:
        """Tokenise one stripped line. A structure line ("[verse] ...") is encoded as English in any language."""
        structure = bool(_STRUCTURE_LINE.match(line))
        language = "en" if structure else encoding_language(detected, compatibility)
        try:
            normalized = normalize(line, language, compatibility)
            escape = compatibility == "corrected" and not structure
            ids = self._encode_normalized(normalized, language, escape=escape)
        except Exception as error:  # noqa: BLE001 - spec 03 section 2: the line is left out, the others are tokenised
            logger.warning("left out the line %r: %s", line[:80], error)
            return LineReport(line, detected, language, skipped=f"{type(error).__name__}: {error}")
        return LineReport(line, detected, language, normalized, tuple(ids))

    def training_ids(self, lyrics: str, *, compatibility: Compatibility) -> NDArray[np.int64]:
        """Token ids as in training: one language for the song, segments within lines (spec 05 section 1.3).

        Empty lyrics, and lyrics that are an instruction to write lyrics, give a single 0.

        Raises:
            InputError: unusable lyrics, or the song is in none of the 17 languages.
        """
        check_lyrics(lyrics)
        if not lyrics or _is_instruction(lyrics):
            return np.zeros(1, np.int64)
        song, segments = song_segments(lyrics, compatibility)
        if song not in SUPPORTED:
            raise InputError(f"a song in {song!r}", where="lyrics", allowed=", ".join(SUPPORTED))
        ids = [self._id["[START]"]]
        for segment in segments:
            for line in segment.text.split("\n"):
                try:
                    ids += self._training_line(
                        line, song, encoding_language(segment.language, compatibility), compatibility
                    )
                except Exception as error:  # noqa: BLE001 - spec 05 section 1.3: failing lines are skipped
                    logger.warning("left out %r: %s", line[:80], error)
        return np.array(ids[:MAX_TOKENS], np.int64)

    def decode(self, ids: Sequence[int] | NDArray[np.int64]) -> str:
        """The text of token ids, for people. A separator becomes a blank."""
        tokens = (self._tokenizer.id_to_token(int(number)) or "" for number in ids)
        text = "".join(tokens).replace(" ", "")
        return text.replace("[SPACE]", " ").replace("[STOP]", "")

    def _training_line(self, line: str, song: str, segment: str, compatibility: Compatibility) -> list[int]:
        """The tokens of one line in the language of the song, or of the segment if the song's lacks a character."""
        separator = self._id["[SPACE]"]
        if not line.strip():
            return [separator]
        structure = bool(_STRUCTURE_LINE.match(line))
        escape = compatibility == "corrected" and not structure

        def encode(language: str) -> list[int]:
            return self._encode_normalized(normalize(line, language, compatibility), language, escape=escape)

        ids = encode("en" if structure else song)
        if not structure and self._id["[UNK]"] in ids:
            ids = encode(segment)
        return [*ids, separator]

    def _encode_normalized(self, text: str, language: str, *, escape: bool) -> list[int]:
        """The language token and the tokens of `text`; with `escape`, control tokens in the text are plain text."""
        ids = [self._id[language_token(language)]]
        for piece in self._control_splits.split(text) if escape else [text]:
            ids += self._tokenizer.encode(piece.replace(" ", "[SPACE]")).ids
        return ids


def _read(vocab: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    if not vocab.is_file():
        raise CheckpointError("no such file", where=str(vocab), allowed="the lyric vocabulary (acestep-flows fetch)")
    try:
        return Tokenizer.from_file(str(vocab))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise CheckpointError(f"not a vocabulary: {error}", where=str(vocab), allowed="tokenizers JSON") from None


def _split_points(tokens: set[str]) -> re.Pattern[str]:
    """A pattern that matches between the first character of a token and the rest. Text split there has no token."""
    points = (rf"(?<={re.escape(token[0])})(?={re.escape(token[1:])})" for token in sorted(tokens) if len(token) > 1)
    return re.compile("|".join(points) or r"(?!)")


def _detect(lines: Sequence[str], hints: Sequence[str | None], compatibility: Compatibility) -> list[str]:
    """The language of every line, "" for blank lines. With "corrected", lines without letters take the song's."""
    fallback = "" if compatibility == "corrected" else "zh"
    codes = [
        "" if not line else hint or line_language(line, compatibility, fallback)
        for line, hint in zip(lines, hints, strict=True)
    ]
    sung = [code for line, code in zip(lines, codes, strict=True) if code and not _STRUCTURE_LINE.match(line)]
    song = Counter(sung).most_common(1)[0][0] if sung else "zh"
    return [code or (song if line else "") for line, code in zip(lines, codes, strict=True)]


def _is_instruction(lyrics: str) -> bool:
    """Whether a line has "write a <anything> song that genre is": a request instead of lyrics."""
    before, after = "write a ", " song that genre is"
    return any(after in line.partition(before)[2] for line in lyrics.split("\n"))
