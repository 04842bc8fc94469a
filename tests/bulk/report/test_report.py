"""The report: one file that holds all it shows, and tells what became of the job."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from acestep_flows.audio import write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.bulk.fingerprint import Duplicate
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.report import Findings, players, render
from acestep_flows.bulk.results import ResultRow, table
from acestep_flows.errors import StorageError
from tests.bulk.finished import JOB, done_row
from tests.bulk.songs import chords

FLAC = write.encode(chords(1, 2.0), FORMATS["flac"], subtype=None, tags=None).content
LONG = write.encode(chords(1, 40.0), FORMATS["flac"], subtype=None, tags=None).content


def failure(row: ResultRow, **changes: Any) -> ResultRow:
    blank: dict[str, Any] = {
        "audio_path": None,
        "status": "failed",
        "error": "vocode: out of <b>memory</b>",
        "code": "stage_failed",
    }
    return dataclasses.replace(row, **(blank | changes))


def findings(rows: list[ResultRow], *, dead: tuple[ResultRow, ...] = (), more: tuple[ResultRow, ...] = ()) -> Findings:
    return Findings(JOB, 24, table(rows), table(more), table(dead))


class Loads(HTMLParser):
    """Everything that a page refers to, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_page_stands_alone() -> None:
    page = render(findings([done_row(index) for index in range(20)]), lambda path: FLAC)
    loads = Loads(page)
    assert loads.tags.count("audio") == loads.tags.count("img") == players.COUNT
    assert {address.partition(":")[0] for address in loads.addresses} == {"data"}
    assert not {"script", "link", "iframe"} & set(loads.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    for heading in ("Duration", "Integrated loudness", "Tempo", "Seconds of work per song", "Songs finished"):
        assert heading in page


def test_a_job_without_any_song() -> None:
    page = render(Findings(JOB, 3, table([]), table([]), table([])), lambda path: FLAC)
    assert "rows still to come" in page
    assert "audio" not in Loads(page).tags


def test_texts_of_the_manifest_are_only_texts() -> None:
    inputs = '{"tags": "<script>alert(1)</script>", "seed": 1}'
    row = dataclasses.replace(done_row(0), id='"><script>', inputs_json=inputs)
    dead = failure(done_row(1), id="<img onerror=x>")
    page = render(findings([row], dead=(dead,), more=(dead,)), lambda path: FLAC)
    assert "script" not in Loads(page).tags
    assert Loads(page).tags.count("img") == 1
    assert "&lt;script&gt;alert(1)" in page


def test_failures_by_cause_and_gate() -> None:
    silent = dict(done_row(2).measurements or {}, silence_share=0.9)
    tries = [failure(done_row(2), attempt=attempt) for attempt in (1, 2)]
    missed = [failure(done_row(3), status="rejected", code=None, measurements=silent)]
    unread = failure(done_row(5), code="invalid_input", id="never tried")
    found = findings([done_row(0)], dead=(tries[1], unread), more=(*tries, *missed))
    assert found.causes == {"stage_failed": 2, "invalid_input": 1}
    assert found.gates == {"silence_share<0.5": 1}
    assert (found.done, found.failed, found.missing) == (1, 2, 21)
    page = render(found, lambda path: FLAC)
    assert "out of &lt;b&gt;memory" in page
    assert "never tried" in page


def test_a_song_that_is_gone_is_told_of() -> None:
    def load(path: str) -> bytes:
        raise StorageError(f"{path}: not there")

    page = render(findings([done_row(0)]), load)
    assert "audio/000/row_0.flac: not there" in page
    assert "What was made" in page


def test_players_hold_excerpts() -> None:
    row = dataclasses.replace(done_row(0), duration=40.0)
    shown = players.player(row, lambda path: LONG)
    assert len(shown.sound) < len(LONG)
    assert shown.spectrogram.startswith(b"\x89PNG")
    assert "the first 30" in players.html(shown)


def test_players_tell_what_the_manifest_said() -> None:
    row = dataclasses.replace(done_row(0), inputs_json='{"tags": "jazz", "solver": "euler", "lyrics": ""}')
    page = render(findings([row]), lambda path: FLAC)
    assert "<dt>tags</dt><dd>jazz</dd>" in page
    assert "solver" not in page
    assert "<dt>lyrics" not in page


def test_the_same_job_shows_the_same_songs() -> None:
    assert players.chosen(100, "digest") == players.chosen(100, "digest") != players.chosen(100, "other")
    assert players.chosen(3, "digest") == [0, 1, 2]


def test_pauses_between_calls_are_no_work() -> None:
    rows = [done_row(index) for index in range(10)]
    later = [dataclasses.replace(row, finished=(row.finished or 0) + (86_400 if row.index >= 5 else 0)) for row in rows]
    straight, paused = findings(rows), findings(later)
    assert paused.songs_per_hour == pytest.approx(straight.songs_per_hour, rel=0.1)
    assert paused.songs_per_hour == pytest.approx(900, rel=0.2)
    assert straight.ended_unit == "seconds"


def test_duplicates_of_both_kinds() -> None:
    copy = dataclasses.replace(done_row(0), id="copy", index=9, status="duplicate", duplicate_of="row/0")
    found = dataclasses.replace(
        findings([done_row(0), copy]), likes=[Duplicate("row/4", "row/0", 0.93)], shard=Shard(2, 3)
    )
    assert (found.done, found.duplicates) == (1, 1)
    page = render(found, lambda path: FLAC)
    assert re.search(r"<td>row/4</td><td>row/0</td><td class=n>93 %</td>", page)
    assert "shard 2/3" in page
