"""Split lyrics into segments of one language each, and count the characters of every language (spec 03 section 4).

The counts decide the language of a line. The rules are those of the model's training, with their quirks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from acestep_flows.text.chinese_numbers import spell_chinese_numbers
from acestep_flows.text.classify import classify, known_codes
from acestep_flows.text.masking import Hidden, MaskedLine
from acestep_flows.values import Compatibility

_NOT_WORD = re.compile(r"\W+")
_REPEATED = re.compile(r"(.)\1+")
_DIGIT = re.compile(r"\d")
_PUNCTUATION = re.compile(r"[^\w\s]+")
_TEXT_OR_PUNCTUATION = re.compile(r"[\w\s]+|[^\w\s]+")
_SENTENCE = re.compile(r"[^。.?？!！]*[。.?？!！]+|[^。.?？!！]+")
_CAPITAL_INSIDE_WORD = re.compile(r"\B(?=[A-Z])")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_ONLY_HAN = re.compile(r"[\u4e00-\u9fff\s]*")
_KANA = re.compile(r"[\u3040-\u30ff]")

Pair = tuple[str, str]
"""Two possible languages of an undecided segment; the first is the fallback."""


@dataclass
class Segment:
    """A text in one language. A `tagged` segment (`<ja>...</ja>`) never merges with its neighbours."""

    language: str
    text: str
    tagged: bool = False


class Segmenter:
    """Segments lines one by one. The counts and an undecided segment carry over from line to line.

    Attributes:
        counts: characters per language, Chinese ones counted twice, in the order in which languages first occurred.
    """

    def __init__(self, compatibility: Compatibility) -> None:
        self.counts: dict[str, int] = {}
        self._count_all = compatibility == "upstream"
        self._undecided: tuple[Pair, str] | None = None
        self._line: MaskedLine
        self._stored: list[Segment] = []

    def segment(self, line: str) -> Sequence[Segment]:
        """The segments of `line`. Segments merge only within a line, as upstream."""
        self._line, self._stored = MaskedLine(line), []
        self._process(self._line.text, whole_line=True)
        return self._stored

    def _process(self, text: str, *, whole_line: bool) -> None:
        pieces = list(self._line.pieces(text))
        for position, piece in enumerate(pieces):
            if isinstance(piece, Hidden):
                self._process_hidden(piece)
            else:
                self._process_generic(piece, at_end=whole_line and position == len(pieces) - 1)

    def _process_hidden(self, hidden: Hidden) -> None:
        match hidden.kind:
            case "ko" | "th" | "ru":
                self._emit(hidden.kind, hidden.text)
            case "number":
                self._emit(self._stored[0].language if self._stored else "zh", hidden.text)
            case "latin":
                for sentence in _SENTENCE.findall(hidden.text):
                    if sentence.strip():
                        self._emit(classify(_clean(sentence))[0], sentence)
            case "tag":
                self._process_tag(hidden.name.lower(), hidden.inner)
            case "quote" | "bracket":
                self._process_enclosed(hidden)

    def _process_tag(self, name: str, inner: str) -> None:
        if name in ("number", "telephone", "currency", "date"):
            name, inner = "zh", spell_chinese_numbers(inner, "upstream")
        self._emit(name, inner, tagged=True)

    def _process_enclosed(self, hidden: Hidden) -> None:
        if self._line.holds_placeholder(hidden.text):
            self._process(hidden.text, whole_line=False)
        elif len(core := _clean(hidden.inner)) <= 5:
            self._process_generic(hidden.text, at_end=False)
        else:
            self._emit(classify(core)[0], hidden.text)

    def _process_generic(self, piece: str, *, at_end: bool) -> None:
        """Process text that no pass matched: Han, kana, every other script and punctuation."""
        carried = ""
        chunks = _chunks(piece)
        for position, part in enumerate(chunks):
            chunk = carried + part
            core = _clean(_DIGIT.sub("", chunk))
            last = position == len(chunks) - 1
            if not last and len(core) <= 2:
                carried = chunk
                continue
            carried = ""
            language, pair = self._judge(chunk, core, at_end=last and at_end)
            self._emit(language, chunk, pair)

    def _judge(self, chunk: str, core: str, *, at_end: bool) -> tuple[str, Pair | None]:
        """The language of a chunk; also the pair if it is undecided, as short Han text may be Chinese or Japanese."""
        language, probability = classify(core)
        if language != "zh" and _ONLY_HAN.fullmatch(core):
            language, probability = "zh", 1.0
        if not (_HAN.search(core) and len(core) <= 5):
            return language, None

        before = self._stored[-1].language if self._stored else ""
        if probability < 0.89:
            language = "ja"
        if _KANA.search(core):
            return "ja", None
        if len(core) > 2 and probability > 0.90:
            return language, None
        if at_end:
            return ("zh" if len(core) <= 1 else language), None
        if chunk.rstrip().endswith(("。", ".")):
            return (before if before in ("zh", "ja") else language), None
        chinese = language == "zh" or (len(core) <= 2 and before == "zh")
        return language, ("zh", "ja") if chinese else ("ja", "zh")

    def _emit(self, language: str, text: str, pair: Pair | None = None, *, tagged: bool = False) -> None:
        """Add a text with its language. That also decides an undecided text before it."""
        if not text.strip():
            return
        if language == "en":
            text = _CAPITAL_INSIDE_WORD.sub(" ", text).strip("-") + " "
        if self._undecided:
            undecided_pair, undecided_text = self._undecided
            self._undecided = None
            decided = language if pair is None and language in undecided_pair else undecided_pair[0]
            self._store(decided, undecided_text)
            if pair == undecided_pair:
                language, pair = undecided_pair[0], None
        if pair:
            self._undecided = (pair, text)
        else:
            self._store(language, text, tagged=tagged)

    def _store(self, language: str, text: str, *, tagged: bool = False) -> None:
        # Upstream tests for a substring, which accepts three names that are not languages.
        if language not in known_codes() and language not in ("", "a", "f"):
            return
        before = self._stored[-1] if self._stored else None
        if before and not tagged and not before.tagged:
            if _is_numeric(text):
                language = before.language
            if language == before.language:
                before.text += text
                self._count(language, text)
                return
            if _is_numeric(before.text):
                text = self._stored.pop().text + text  # its count is not changed
        self._stored.append(Segment(language, text, tagged))
        self._count(language, text)

    def _count(self, language: str, text: str) -> None:
        # Upstream counts digits and symbols too: "24 hours to live" counts 6 for Chinese, so its language is Chinese.
        if self._count_all or any(character.isalpha() for character in text):
            weight = 2 if language == "zh" else 1
            self.counts[language] = self.counts.get(language, 0) + weight * len(text)


def _clean(text: str) -> str:
    """The words of `text` between single blanks, with repeated characters once."""
    return _REPEATED.sub(r"\1", _NOT_WORD.sub(" ", text)).strip()


def _is_numeric(text: str) -> bool:
    return not _DIGIT.sub("", _PUNCTUATION.sub("", text).strip())


def _chunks(piece: str) -> list[str]:
    """Split into texts without punctuation, each with the punctuation after it; the first also with that before it."""
    chunks = [""]
    started = False
    for part in _TEXT_OR_PUNCTUATION.findall(piece):
        is_text = not _PUNCTUATION.match(part) and not part.isspace()
        if is_text and started:
            chunks.append("")
        started = started or is_text
        chunks[-1] += part
    return chunks
