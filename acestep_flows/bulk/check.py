"""Check a whole manifest before anything is loaded, and compare it with what it was when the job began."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acestep_flows.bulk.job import ManifestSource
from acestep_flows.errors import InputError

if TYPE_CHECKING:
    from acestep_flows.bulk.rows import JobRows

SHOWN = 1000
"""Reasons that are listed with the rows that have them; rows with further reasons are only counted."""

DIGEST = 8
"""Bytes of each row's digest."""

NAMED = 10
"""Row numbers that a message names; further ones are only counted."""


@dataclass(frozen=True)
class Bad:
    """Rows that cannot be run for the same reason.

    Attributes:
        line: of the first row.
        problem: the reason.
        others: first and last line of each unbroken run of further rows, in order.
    """

    line: int
    problem: str
    others: tuple[tuple[int, int], ...] = ()

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return 1 + sum(last - first + 1 for first, last in self.others)

    def __str__(self) -> str:
        if not self.others:
            return f"line {self.line}: {self.problem}"
        spans = _joined([(self.line, self.line), *self.others])
        named = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans[:NAMED])
        hidden = sum(last - first + 1 for first, last in spans[NAMED:])
        more = f" and {hidden} more" if hidden else ""
        return f"lines {named}{more}: {self.problem}"


@dataclass(frozen=True)
class Checked:
    """A checked manifest.

    Attributes:
        source: the manifest, as the job records it.
        bad: the rows that cannot be run, by reason: the first thousand reasons.
        bad_rows: how many rows cannot be run.
        digests: eight bytes for each row.
        lines: the line of each row.
        notes: how cells were read where that is not plain to see, with the rows.
    """

    source: ManifestSource
    bad: tuple[Bad, ...]
    bad_rows: int
    digests: bytes
    lines: array[int]
    notes: tuple[Bad, ...] = ()


def check(rows: JobRows) -> Checked:
    """Read and check every row.

    Raises:
        InputError: the manifest cannot be read, or has no rows.
    """
    digests, lines = bytearray(), array("q")
    reasons: dict[str, list[tuple[int, int]]] = {}
    notes: dict[str, list[tuple[int, int]]] = {}
    bad_rows = 0
    columns: set[str] = set()
    for row in rows.checked_rows():
        digests += row.digest
        lines.append(row.line)
        columns.update(row.inputs)
        for note in row.notes:
            _extend(notes.setdefault(note, []), row.line)
        if row.problem is not None:
            bad_rows += 1
            if row.problem in reasons or len(reasons) < SHOWN:
                _extend(reasons.setdefault(row.problem, []), row.line)
    url = rows.manifest.url if rows.manifest is not None else ""
    if not lines:
        raise InputError("has no rows", where=url, allowed="at least one")
    read_columns = rows.columns if rows.columns is not None else tuple(sorted(columns))
    source = ManifestSource(url, len(lines), tuple(read_columns), hashlib.sha256(digests).hexdigest())
    return Checked(source, _grouped(reasons), bad_rows, bytes(digests), lines, _grouped(notes))


def _grouped(reasons: Mapping[str, Sequence[tuple[int, int]]]) -> tuple[Bad, ...]:
    return tuple(Bad(spans[0][0], problem, _without_first(spans)) for problem, spans in reasons.items())


def _extend(spans: list[tuple[int, int]], line: int) -> None:
    """Add a line to spans of lines."""
    if spans and line == spans[-1][1] + 1:
        spans[-1] = (spans[-1][0], line)
    else:
        spans.append((line, line))


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, with the first two as one where they touch."""
    if len(spans) > 1 and spans[0][1] + 1 == spans[1][0]:
        return [(spans[0][0], spans[1][1]), *spans[2:]]
    return spans


def _without_first(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The spans without their first line."""
    first, last = spans[0]
    return (*([(first + 1, last)] if last > first else []), *spans[1:])


def difference(before: bytes, now: Checked) -> Iterator[str]:
    """How the rows differ from those with the digests `before`, one line each; none if they are the same."""
    if before == now.digests:
        return
    old, new = _row_digests(before), _row_digests(now.digests)
    if len(old) != len(new):
        yield f"{len(old)} rows before, {len(new)} now"
    gone, added = Counter(old) - Counter(new), Counter(new) - Counter(old)
    if added:
        yield f"new or changed: {_named(_at(added, new), now.lines)}"
    if gone:
        yield f"gone or changed: {_named(_at(gone, old))} of the old manifest"
    if not added and not gone:
        first = next(i for i, pair in enumerate(zip(old, new, strict=True), 1) if pair[0] != pair[1])
        yield f"the same rows in another order, from {_named([first], now.lines)} on"


def _at(wanted: Counter[bytes], digests: Sequence[bytes]) -> list[int]:
    """Numbers of the rows, from 1, with the wanted digests: the first ones, where more have them."""
    left, numbers = Counter(wanted), []
    for number, digest in enumerate(digests, 1):
        if left[digest] > 0:
            left[digest] -= 1
            numbers.append(number)
    return numbers


def _row_digests(digests: bytes) -> list[bytes]:
    return [digests[i : i + DIGEST] for i in range(0, len(digests), DIGEST)]


def _named(rows: Sequence[int], lines: Sequence[int] = ()) -> str:
    """`rows 3, 7 and 4 more`, and where `lines` has other numbers for them, these too: `row 3 (line 4)`."""
    shown = rows[:NAMED]
    at = [lines[row - 1] for row in shown] if lines else list(shown)
    where = f" ({_counted_from(at, 'line')})" if at != list(shown) else ""
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f"{_counted_from(shown, 'row')}{where}{more}"


def _counted_from(numbers: Sequence[int], noun: str) -> str:
    return f"{noun}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
