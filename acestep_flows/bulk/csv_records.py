"""Records of a csv with the lines that they are on.

A quote that is not closed, or that stands alone inside a cell, leaves it open where the next row begins. Where the
lines after it show that, only its own record is bad. Otherwise the file is refused: no row is lost in the text of
another one, and no line of a text becomes a row.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from acestep_flows.errors import InputError

DELIMITERS = (",", ";", "\t", "|")
MOST_AHEAD = 1000
"""Lines that are looked at after a broken quote. A text without any quote is not that long."""

_ALLOWED = 'every quote closed, and quotes inside a cell written twice ("")'


@dataclass(frozen=True)
class CsvRecord:
    """One record; `line` is its first, counted from 1. With a problem it has no cells."""

    line: int
    cells: list[str] = field(default_factory=list)
    problem: str | None = None


def delimiter_of(header: str, usual: str) -> str:
    """What separates the columns of a header: `usual`, unless only another delimiter divides it."""
    counts = {delimiter: _columns(header, delimiter) for delimiter in DELIMITERS}
    return usual if counts[usual] > 1 else max(DELIMITERS, key=lambda each: (counts[each], each == usual))


def records(lines: Iterable[str], delimiter: str, longest: int, where: str) -> Iterator[CsvRecord]:
    """The records of a csv, blank lines left out.

    Args:
        lines: with their line breaks.
        longest: characters of a record; a longer one has a quote that is not closed.
        where: the file, in errors.

    Raises:
        InputError: a quote is broken, and where the next row begins is not certain.
    """
    source = _Lines(lines, longest)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    width = 0
    closed = False  # whether the latest quote stood at the end of a line
    while True:
        source.begin()
        line = source.number + 1
        try:
            cells = _next(reader, longest)
        except StopIteration:
            return
        except csv.Error as error:
            if not _is_next_row_certain(source, delimiter, unclosed=_is_unclosed(error)):
                raise _uncertain(line, where) from None
            yield CsvRecord(line, problem=f"not readable as csv: {error}")
            continue
        last = source.taken[-1]
        if '"' in last:
            at_end = last.rstrip("\r\n").endswith('"')
            alone = at_end and len(source.taken) == 1 and last.count('"') % 2 == 1
            if alone and (closed or len(cells) != width):
                raise _uncertain(line, where)  # it may close a text that an earlier quote has ended too soon
            closed = at_end
        if cells:
            width = width or len(cells)
            yield CsvRecord(line, cells)


def _uncertain(line: int, where: str) -> InputError:
    what = "a quote is not closed, or not written twice, so where the next row begins is not certain"
    return InputError(f"line {line}: {what}", where=where, allowed=_ALLOWED)


class _Lines:
    """Lines with their number, and those of the present record, which can be given back."""

    def __init__(self, lines: Iterable[str], longest: int) -> None:
        self._lines, self._longest = iter(lines), longest
        self._ahead: deque[str] = deque()
        self._size = 0
        self.taken: list[str] = []
        self.number = 0

    def begin(self) -> None:
        """Begin another record."""
        self.taken, self._size = [], 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.number += 1
        self.taken.append(line)
        self._size += len(line)
        if len(self.taken) > 1 and self._size > self._longest:
            raise csv.Error(f"a record of more than {self._longest} characters")
        return line

    def give_back(self) -> None:
        """Give all lines of the record back, except its first."""
        self._ahead.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        del self.taken[1:]

    def following(self) -> Iterator[str]:
        """The next lines, which stay where they are: `MOST_AHEAD` at most, and as many characters as a record has."""
        size = 0
        for at in range(MOST_AHEAD):
            if at == len(self._ahead):
                line = next(self._lines, None)
                if line is None:
                    return
                self._ahead.append(line)
            yield self._ahead[at]
            size += len(self._ahead[at])
            if size > self._longest:
                return


def _is_next_row_certain(source: _Lines, delimiter: str, *, unclosed: bool) -> bool:
    """Whether the line after a broken record begins a row. All lines after the record's first are given back.

    If it is inside the text of a cell, the first quote to come closes that cell. If it begins a row, the first quote to
    come opens one, at the beginning of a cell.
    """
    first = source.taken[0]
    left_open = unclosed or len(source.taken) > 1 or first.count('"') % 2 == 1
    source.give_back()
    opening = re.compile(f'(?:^|{re.escape(delimiter)})"[^"{re.escape(delimiter)}\\r\\n]')
    if not _opens(first, opening):
        return False
    for line in source.following():
        if '"' in line:
            return _opens(line, opening)
        if left_open:
            return False
    return True


def _opens(line: str, opening: re.Pattern[str]) -> bool:
    """Whether the first quote of a line opens a cell."""
    found, quote = opening.search(line), line.find('"')
    return found is not None and found.start() <= quote < found.end()


def _is_unclosed(error: csv.Error) -> bool:
    return "unexpected end" in str(error)


def _next(reader: Iterator[list[str]], longest: int) -> list[str]:
    """The next record. The limit of a cell holds for all readers of the process, so it is put back."""
    before = csv.field_size_limit(longest)
    try:
        return next(reader)
    finally:
        csv.field_size_limit(before)


def _columns(header: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=delimiter, strict=True), []))
    except csv.Error:
        return 0
