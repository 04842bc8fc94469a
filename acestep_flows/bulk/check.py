"""The check of a whole manifest before anything is loaded, and the comparison with what it was when the job began."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acestep_flows.bulk.job import ManifestSource
from acestep_flows.errors import InputError

if TYPE_CHECKING:
    from acestep_flows.bulk.rows import JobRows

SHOWN = 1000
"""Bad rows that are kept with their reasons; beyond these they are counted."""

DIGEST = 8
NAMED = 10


@dataclass(frozen=True)
class Bad:
    """A row that cannot be run, and why."""

    line: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


@dataclass(frozen=True)
class Checked:
    """What a manifest holds.

    Attributes:
        source: for the job.
        bad: the first thousand rows that cannot be run.
        bad_rows: how many there are.
        digests: eight bytes for each row.
        lines: where each row is.
    """

    source: ManifestSource
    bad: tuple[Bad, ...]
    bad_rows: int
    digests: bytes
    lines: array[int]


def check(rows: JobRows) -> Checked:
    """Read and check every row.

    Raises:
        InputError: the manifest cannot be read, or has no rows.
    """
    digests, lines = bytearray(), array("q")
    bad: list[Bad] = []
    bad_rows = 0
    columns: set[str] = set()
    for found in rows.found():
        digests += found.digest
        lines.append(found.line)
        columns.update(found.inputs)
        if found.problem is not None:
            bad_rows += 1
            if len(bad) < SHOWN:
                bad.append(Bad(found.line, found.problem))
    url = rows.manifest.url if rows.manifest is not None else ""
    if not lines:
        raise InputError("has no rows", where=url, allowed="at least one")
    told = rows.columns if rows.columns is not None else tuple(sorted(columns))
    source = ManifestSource(url, len(lines), tuple(told), hashlib.sha256(digests).hexdigest())
    return Checked(source, tuple(bad), bad_rows, bytes(digests), lines)


def difference(before: bytes, now: Checked) -> Iterator[str]:
    """How the rows differ from those with the digests `before`; nothing where they are the same, in the same order."""
    if before == now.digests:
        return
    old, new = _parts(before), _parts(now.digests)
    if len(old) != len(new):
        yield f"{len(old)} rows then, {len(new)} now"
    gone, added = Counter(old) - Counter(new), Counter(new) - Counter(old)
    if added:
        places = []
        for digest, line in zip(new, now.lines, strict=True):
            if added[digest] > 0:
                added[digest] -= 1
                places.append(line)
        yield f"new or changed: {_told('line', places)}"
    if gone:
        places = []
        for number, digest in enumerate(old, 1):
            if gone[digest] > 0:
                gone[digest] -= 1
                places.append(number)
        yield f"gone or changed: {_told('row', places)} of then"
    if not added and not gone:
        first = next(i for i, (one, other) in enumerate(zip(old, new, strict=True)) if one != other)
        yield f"the same rows in another order, from line {now.lines[first]} on"


def _parts(digests: bytes) -> list[bytes]:
    return [digests[i : i + DIGEST] for i in range(0, len(digests), DIGEST)]


def _told(what: str, places: list[int]) -> str:
    named = ", ".join(str(place) for place in places[:NAMED])
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"{what}{'s' if len(places) > 1 else ''} {named}{more}"
