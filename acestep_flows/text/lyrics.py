"""Lyrics to token ids, in the form of inference and in the form of training (spec 03 section 2)."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.text.identify import line_language, song_segments
from acestep_flows.text.languages import SUPPORTED, check_language, encoding_language, language_token
from acestep_flows.text.lyric_lines import LyricLine, LyricLines, read_lines
from acestep_flows.text.normalize import normalize
from acestep_flows.text.prompt import check_lyrics
from acestep_flows.text.song_languages import song_languages
from acestep_flows.text.structure_tags import STRUCTURE
from acestep_flows.values import Compatibility

if TYPE_CHECKING:
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

MAX_TOKENS = 4096
"""The longest sequence of tokens in the model's training."""

MAX_WARNINGS = 20
"""Lines with letters that cannot be sung are named one by one up to this number."""

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
        number: the line of the user's text, counted from 1; two reports share it where a tag stood before words.
        at: the line's time stamp in seconds, where the lyrics have such stamps (LRC).
        unknown: its letters that the vocabulary lacks, in order; the model cannot sing them.
        letters: how many letters the line has.
    """

    text: str
    detected: str = ""
    language: str = ""
    normalized: str = ""
    ids: tuple[int, ...] = ()
    skipped: str = ""
    number: int = 0
    at: float | None = None
    unknown: str = ""
    letters: int = 0


@dataclass(frozen=True)
class TokenizedLyrics:
    """The input of the lyric encoder.

    Attributes:
        ids: (L,) token ids.
        mask: (L,) ones; a single zero for empty lyrics.
        lines: one report per line.
        warnings: messages for the user about what was left out, cut, cannot be sung, or was read in another way.
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
        self._known: dict[str, bool] = {}

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
        song = read_lines(lyrics) if compatibility == "corrected" else LyricLines.verbatim(lyrics)
        given = [hints.get(line.number, default) for line in song.lines]
        languages = _detect(song.lines, given, compatibility)
        return self.encode_lines(song.lines, languages, compatibility=compatibility, notes=song.notes)

    def encode_lines(
        self,
        lines: Sequence[LyricLine],
        detected: Sequence[str],
        *,
        compatibility: Compatibility,
        notes: Sequence[str] = (),
    ) -> TokenizedLyrics:
        """Tokenise lines whose languages are known: [START], then each line and a separator.

        Args:
            notes: warnings about the lines as they were read; they stand before those about tokens.
        """
        limit = MAX_TOKENS if compatibility == "corrected" else None
        ids, reports, warnings = [self._id["[START]"]], list[LineReport](), list(notes)
        for position, (line, code) in enumerate(zip(lines, detected, strict=True), start=1):
            report = self.encode_line(line, code, compatibility=compatibility)
            reports.append(report)
            if report.skipped:
                warnings.append(f"line {line.number} was left out: {report.skipped}")
                continue
            ids += [*report.ids, self._id["[SPACE]"]]
            if limit is not None and len(ids) > limit:
                last = lines[-1].number
                warnings.append(f"the model reads {limit} tokens: lyrics are cut in line {line.number} of {last}")
                beyond = f"beyond the {limit} tokens that the model reads"
                reports += [LineReport(rest.text, skipped=beyond, number=rest.number) for rest in lines[position:]]
                break
        warnings += unsung(reports) if compatibility == "corrected" else []
        array = np.array(ids[:limit], np.int64)
        return TokenizedLyrics(array, np.ones(len(array), np.float32), tuple(reports), tuple(warnings))

    def encode_line(self, line: LyricLine, detected: str, *, compatibility: Compatibility) -> LineReport:
        """Tokenise one line. A structure tag is encoded as English in any language.

        With "upstream", a line that starts with any bracketed group is one, whatever follows (spec 03 section 2).
        """
        place = LineReport(line.text, number=line.number, at=line.at)
        if not line.text:
            return place
        corrected = compatibility == "corrected"
        structure = line.is_tag if corrected else bool(_STRUCTURE_LINE.match(line.text))
        language = "en" if structure else encoding_language(detected, compatibility)
        place = replace(place, detected=detected, language=language)
        try:
            normalized = normalize(line.text, language, compatibility)
            ids = self._encode_normalized(normalized, language, escape=corrected and not structure)
        except Exception as error:  # noqa: BLE001 - spec 03 section 2: the line is left out, the others are tokenised
            logger.warning("left out the line %r: %s", line.text[:80], error)
            return replace(place, skipped=f"{type(error).__name__}: {error}")
        letters, unknown = self._letters(normalized)
        return replace(place, normalized=normalized, ids=tuple(ids), letters=letters, unknown=unknown)

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

    def _letters(self, text: str) -> tuple[int, str]:
        """How many letters `text` has, and those of them that the vocabulary lacks."""
        letters = [character for character in text if unicodedata.category(character)[0] in "LM"]
        return len(letters), "".join(character for character in letters if not self._is_known(character))

    def _is_known(self, letter: str) -> bool:
        if letter not in self._known:
            self._known[letter] = self._id["[UNK]"] not in self._tokenizer.encode(letter).ids
        return self._known[letter]

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


def _detect(lines: Sequence[LyricLine], hints: Sequence[str | None], compatibility: Compatibility) -> list[str]:
    """The language of every line, "" for blank lines. Structure tags have that of the song."""
    if compatibility == "corrected":
        codes = iter(
            song_languages(
                [line.text for line in lines if not line.is_tag],
                [hint for line, hint in zip(lines, hints, strict=True) if not line.is_tag],
            )
        )
        return [hint or "en" if line.is_tag else next(codes) for line, hint in zip(lines, hints, strict=True)]
    return [hint or line_language(line.text) if line.text else "" for line, hint in zip(lines, hints, strict=True)]


def unsung(reports: Sequence[LineReport]) -> list[str]:
    """A warning for each line with letters that the vocabulary lacks; beyond `MAX_WARNINGS` lines only their number."""
    lines = [report for report in reports if report.unknown]
    warnings = [
        f"line {report.number}: {len(report.unknown)} of {report.letters} letters cannot be sung "
        f"({_shown(report.unknown)}: not in the model's vocabulary)"
        for report in lines[:MAX_WARNINGS]
    ]
    if len(lines) > MAX_WARNINGS:
        warnings.append(f"{len(lines) - MAX_WARNINGS} more lines have letters that cannot be sung")
    return warnings


def _shown(letters: str) -> str:
    """The first different letters, with dots where there are more."""
    distinct = list(dict.fromkeys(letters))
    return "".join(distinct[:12]) + (" ..." if len(distinct) > 12 else "")


def _is_instruction(lyrics: str) -> bool:
    """Whether a line has "write a <anything> song that genre is": a request instead of lyrics."""
    before, after = "write a ", " song that genre is"
    return any(after in line.partition(before)[2] for line in lyrics.split("\n"))
