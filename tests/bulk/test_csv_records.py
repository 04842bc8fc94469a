"""A broken quote: no line of a text becomes a row, and no row becomes a part of a text."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.bulk.csv_records import CsvRecord, delimiter_of, records
from acestep_flows.errors import InputError

LONGEST = 100_000


def read(text: str) -> list[CsvRecord]:
    return list(records(io.StringIO(text, newline=""), ",", LONGEST, "m.csv"))


def good(text: str) -> list[list[str]]:
    return [record.cells for record in read(text) if record.problem is None]


def bad(text: str) -> list[int]:
    return [record.line for record in read(text) if record.problem is not None]


CERTAIN = [
    ('1,"fun"k\n2,soul\n3,pop\n', [1], ["2", "3"]),  # the rest has no quote that could close a text
    ('1,"fun"k\n2,"soul"\n3,pop\n', [1], ["2", "3"]),  # the next quote opens a cell
    ('1,"fun"k\n2,"so"ul\n3,"pop"\n', [1, 2], ["3"]),
    ('1,"never closed\n2,"soul"\n3,pop\n', [1], ["2", "3"]),
    ('1,"[verse]\nla\n"\n2,"so"ul\n3,pop\n', [4], ["1", "3"]),
    ('1,soul\n2,"cut o', [2], ["1"]),
    ('1,a 12" mix\n2,a 7"\n', [], ["1", "2"]),  # as by hand, in a file without quotes
]


@pytest.mark.parametrize(("text", "lines", "ids"), CERTAIN)
def test_a_broken_record_is_bad_alone_where_the_next_row_is_certain(
    text: str, lines: list[int], ids: list[str]
) -> None:
    assert bad(text) == lines
    assert [cells[0] for cells in good(text)] == ids


UNCERTAIN = [
    ('1,soul\n2,"never closed\n3,pop\n', 2),
    ('1,"he said "hi" and\nleft, slowly"\n2,soul\n', 1),
    ('1,"a 6" record\nleft, slowly\nthe end"\n2,soul\n', 1),
    ('1,"[verse]\nhe said "hi", so\nbye"\n2,soul\n', 1),
    ('0,x\n\n1,"[verse]\nla, la\nla, la', 3),  # a file that was cut off
    ('1,"[verse]\nla, la\n2,"soul"\n', 1),
    ('1,"a 6"\nleft, slowly"\n2,soul\n', 2),
    ('1,soul\n2,[verse]\nthe end"\n3,pop\n', 3),
]


@pytest.mark.parametrize(("text", "line"), UNCERTAIN)
def test_a_file_is_refused_where_the_next_row_is_not_certain(text: str, line: int) -> None:
    with pytest.raises(InputError, match=rf"m\.csv: line {line}: a quote is not closed"):
        read(text)


ROWS = st.lists(st.lists(st.text('ab,"\n ', min_size=1, max_size=8), min_size=2, max_size=2), min_size=1, max_size=6)


@given(ROWS)
def test_whole_files_are_read_as_they_were_written(rows: list[list[str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    assert [record.cells for record in read(stream.getvalue())] == rows


@given(ROWS, st.integers(0, 200))
def test_a_file_without_one_of_its_closing_quotes_makes_no_row_that_was_not_there(
    rows: list[list[str]], at: int
) -> None:
    """Lines of texts that have the form of rows are the danger: every cell has its place in its id, so they differ."""
    stream = io.StringIO()
    named = [[f"id{number}", f"text {number} {cell}"] for number, (_, cell) in enumerate(rows)]
    csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(named)
    text = stream.getvalue()
    quotes = [at for at in range(1, len(text)) if text[at] == '"' and text[at - 1] not in ",\n"]
    place = quotes[at % len(quotes)]
    try:
        found = [cells for cells in good(text[:place] + text[place + 1 :]) if len(cells) == 2]  # others are bad rows
    except InputError:
        return
    assert len(found) <= len(named)
    assert sum(cells not in named for cells in found) <= 1  # that of the quote itself


def test_a_file_of_broken_quotes_takes_time_in_proportion() -> None:
    def seconds(count: int) -> float:
        began = time.process_time()
        with pytest.raises(InputError):
            read('1,"so"ul\n' * count + '2,"open\n' + "x" * 10 * count + "\nend")
        return time.process_time() - began

    seconds(1000)
    assert seconds(8000) < 10 * max(seconds(2000), 0.005)


def test_a_record_without_end_is_not_gathered() -> None:
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        yield '1,"open\n'
        while True:
            taken += 1
            yield "x" * 1000 + "\n"

    with pytest.raises(InputError, match="line 1"):
        list(records(lines(), ",", LONGEST, "m.csv"))
    assert taken <= LONGEST / 1000 + 2


def test_delimiters() -> None:
    assert delimiter_of("id;tags", ",") == ";"
    assert delimiter_of("tags", ",") == ","
    assert delimiter_of("tags", "\t") == "\t"
    assert delimiter_of('"a;b",c', ",") == ","
    assert delimiter_of('"broken', ",") == ","
