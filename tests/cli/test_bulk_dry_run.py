"""A dry run of a job tells what the call without it would: the same refusals, and the rows that are left."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from acestep_flows.bulk.driver import AttemptEnd
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.job_timings import JobTimings
from acestep_flows.bulk.journal import SongJournal
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.bulk.part_lock import part_locked
from acestep_flows.bulk.pool_renderer import PoolRenderer
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.row_work import Attempt, RenderedSong, failed
from acestep_flows.cli.main import cli
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.values import MODEL_RATE, SAMPLES_PER_FRAME, Audio
from tests.bulk.songs import chords

Invoke = Callable[..., Result]
ROWS = [{"id": f"r{number}", "tags": "folk", "seed": number, "duration": 1.0} for number in range(3)]


@pytest.fixture
def bulk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """The command in a folder with a manifest. Rows get a song of ten frames at once, but for those tagged `never`."""
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def render(
        self: PoolRenderer, attempts: Sequence[Attempt], routes: Collection[Any], meter: Meter, *, alone: bool
    ) -> Generator[AttemptEnd, None, None]:
        meter.begin({"all": 1})
        for attempt in attempts:
            row = self._work.new_result(attempt)
            if attempt.inputs["tags"] == "never":
                yield attempt, failed(row, InputError("it cannot be"))
            else:
                whole = chords(attempt.row.index, 1.0)
                cut = whole.samples[:, : 10 * SAMPLES_PER_FRAME * whole.sample_rate // MODEL_RATE]
                song = RenderedSong(Audio(np.ascontiguousarray(cut), whole.sample_rate), {})
                yield attempt, self._work.store_song(replace(row, stage_seconds={"sample": 2.0}), attempt, song)

    monkeypatch.setattr(PoolRenderer, "render", render)
    manifest(ROWS)
    fixed = ["bulk", "songs.jsonl", "--graph", "text2music", "--out", "job", "--pool", "local", "--tracking", "off"]
    return lambda *args: CliRunner().invoke(cli, [*fixed, "--checkpoint", "embedded", *args])


def manifest(rows: Sequence[dict[str, Any]]) -> None:
    Path("songs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def add_row() -> None:
    manifest([*ROWS, {"id": "more", "tags": "soul"}])


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["--audio", "mp3"], None),
        (["--set", "steps=9"], None),
        (["--job-seed", "3"], None),
        (["--require", "silence_share<0.5"], None),
        (["--accept-upgrade", "--sweep", "steps=8,9"], None),
        pytest.param([], add_row, id="a row more"),
    ],
    ids=str,
)
def test_another_job_in_the_folder_is_refused_with_the_words_of_the_real_call(
    bulk: Invoke, tmp_path: Path, options: list[str], change: Callable[[], None] | None
) -> None:
    assert bulk().exit_code == 0
    before = content(tmp_path / "job")
    if change is not None:
        change()
    dry, real = bulk("--dry-run", *options), bulk(*options)
    assert (dry.exit_code, dry.stdout) == (real.exit_code, real.stdout) == (2, "")
    assert dry.stderr == real.stderr
    assert "\nerror: not the job that was begun here; another --out begins a new one; " in dry.stderr
    assert content(tmp_path / "job") == before


@pytest.mark.parametrize("where", ["job", "parent/job"])
def test_a_folder_that_cannot_be_made_is_refused_as_by_the_real_call(bulk: Invoke, tmp_path: Path, where: str) -> None:
    (tmp_path / where.partition("/")[0]).write_text("a file")
    dry, real = bulk("--out", where, "--dry-run"), bulk("--out", where)
    assert (dry.exit_code, dry.stderr) == (real.exit_code, real.stderr)
    assert dry.exit_code == 4


def test_rows_that_another_process_works_on_are_refused_as_by_the_real_call(bulk: Invoke, tmp_path: Path) -> None:
    assert bulk().exit_code == 0
    with part_locked(JobFolder(str(tmp_path / "job")), Shard()):
        dry, real = bulk("--dry-run"), bulk()
        part = bulk("--dry-run", "--shard", "1/2")
    assert (dry.exit_code, dry.stderr) == (real.exit_code, real.stderr)
    assert "another process works on this job" in dry.stderr
    assert "has the same rows" in part.stderr
    assert bulk("--dry-run").exit_code == 0


def test_a_damaged_job_is_refused_as_by_the_real_call(bulk: Invoke, tmp_path: Path) -> None:
    assert bulk().exit_code == 0
    (tmp_path / "job" / "job.json").write_text("{")
    dry, real = bulk("--dry-run"), bulk()
    assert (dry.exit_code, dry.stderr) == (real.exit_code, real.stderr) == (2, real.stderr)


def test_it_says_how_the_rows_stand(bulk: Invoke, tmp_path: Path) -> None:
    manifest([*ROWS, {"id": "x", "tags": "never"}, {"id": "y", "tags": 7}])
    skip = ("--on-bad-row", "skip")
    first = bulk("--dry-run", *skip)
    assert first.stdout.splitlines()[0] == "4 songs"
    assert not (tmp_path / "job").exists()
    assert bulk(*skip).exit_code == 8
    before = content(tmp_path / "job")
    lines = bulk("--dry-run", *skip, "--price-per-hour", "2").stdout.splitlines()
    assert lines == [
        "3 rows are done",
        "1 row was given up (--again tries them anew)",
        "0 songs: nothing is left to make",
        "1 row cannot be rendered and is skipped",
    ]
    again = bulk("--dry-run", *skip, "--again").stdout.splitlines()
    assert again[:2] == ["3 rows are done", "1 song"]
    found = json.loads(bulk("--dry-run", *skip, "--json").stdout)
    assert (found["rows_done"], found["rows_given_up"], found["rows"], found["bad_rows"]) == (3, 1, 0, 1)
    part = bulk("--dry-run", *skip, "--shard", "2/2").stdout.splitlines()
    assert part[:2] == ["1 row is done", "1 row was given up (--again tries them anew)"]
    assert content(tmp_path / "job") == before


def test_songs_of_a_killed_call_count_as_done(bulk: Invoke, tmp_path: Path) -> None:
    """They are in the journal alone until the next call commits them."""
    assert bulk().exit_code == 0
    folder = JobFolder(str(tmp_path / "job"))
    rows: Iterator[Any] = Ledger(folder).rows()
    journal = SongJournal(folder, Shard())
    for row in list(rows)[:2]:
        journal.note(row)
    for path in (tmp_path / "job" / "results").glob("*.parquet"):
        path.unlink()
    assert bulk("--dry-run").stdout.splitlines()[:2] == ["2 rows are done", "1 song"]
    assert not list((tmp_path / "job" / "results").glob("*.parquet"))


def test_stored_results_of_single_runs_do_not_make_a_job_cheaper(bulk: Invoke) -> None:
    """The processes of a job read none."""
    assert "computed before" not in bulk("--dry-run").stdout


def test_times_of_a_job_are_known_to_the_next(bulk: Invoke, tmp_path: Path) -> None:
    unknown = bulk("--dry-run", "--price-per-hour", "3600")
    assert "time: not known before a first run on this machine" in unknown.stdout.splitlines()
    assert "cost: not known, as no time is" in unknown.stdout.splitlines()
    found = json.loads(bulk("--dry-run", "--price-per-hour", "3600", "--json").stdout)
    assert (found["cost"], found["hours"]) == (None, None)

    timings = JobTimings(tmp_path / "cache" / "results", Pool.read("local"))
    for stage in ("encode_prompt", "encode_lyrics", "init_noise", "decode_latents", "vocode"):
        timings.record(stage, "cpu-float32", None, 1.0, 1)
    timings.record("sample", "cpu-float32", 60, 5.0, 1)
    timings.save()
    known = bulk("--dry-run", "--price-per-hour", "3600", "--out", "another").stdout.splitlines()
    assert "time: about 30.0 s, and the start" in known
    assert "cost: about 30.00, at 3600 an hour" in known


def test_a_finished_job_is_told_once(bulk: Invoke, tmp_path: Path) -> None:
    _, *first = bulk().stderr.splitlines()  # the weights are told first
    assert first[0] == "3 rows; starting"
    assert [line.partition(";")[0] for line in first if "rows done" in line] == ["3 of 3 rows done"]
    again = bulk()
    assert again.stderr.splitlines()[1:] == ["3 of 3 rows done (3 before)"]
    assert again.stdout == bulk("--quiet").stdout


def test_songs_in_whole_frames_are_told_once_and_have_no_warning(bulk: Invoke, tmp_path: Path) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    done = bulk()
    (line,) = [line for line in done.stderr.splitlines() if "shorter" in line]
    assert line == (
        "3 songs are up to 0.09 s shorter than asked, as models make whole frames "
        "(columns duration and duration_asked); exact_length=true makes all of it"
    )
    dataset = pq.read_table(tmp_path / "job" / "dataset", filters=pc.list_value_length(pc.field("warnings")) == 0)
    assert dataset.column("duration_asked").to_pylist() == [1.0] * 3
    assert all(0.9 < seconds < 1.0 for seconds in dataset.column("duration").to_pylist())
    assert "3 songs are up to 0.09 s shorter than asked" in (tmp_path / "job" / "report.html").read_text()


def test_a_part_after_the_whole_job_adds_no_row_to_its_data_set(bulk: Invoke, tmp_path: Path) -> None:
    """Songs are counted over all calls, where a call makes any."""
    import pyarrow.parquet as pq

    def notes(result: Result, words: str) -> list[str]:
        return [line for line in result.stderr.splitlines() if words in line]

    first, whole, part = bulk("--shard", "1/2"), bulk(), bulk("--shard", "2/2")
    assert [done.exit_code for done in (first, whole, part)] == [0, 0, 0]
    songs = [[line.partition(" up")[0] for line in notes(done, "shorter")] for done in (first, whole, part)]
    assert songs == [["2 songs are"], ["3 songs are"], []]
    waits = [
        len(notes(done, "keeps what the job wrote when it was divided otherwise")) for done in (first, whole, part)
    ]
    assert waits == [0, 0, 1]
    assert sorted(pq.read_table(tmp_path / "job" / "dataset").column("id").to_pylist()) == ["r0", "r1", "r2"]
    assert bulk("--shard", "1/2").exit_code == 0
    assert sorted(pq.read_table(tmp_path / "job" / "dataset").column("id").to_pylist()) == ["r0", "r1", "r2"]


def test_what_other_conditions_cost_is_told(bulk: Invoke) -> None:
    rejected = bulk("--require", "silence_share<0")
    assert rejected.exit_code == 8
    assert "  3 rows: silence_share<0 not met" in rejected.stderr.splitlines()
    assert rejected.stderr.splitlines()[-1] == (
        "songs that miss --require are the same ones with --again; other conditions are another job, "
        "with another --out, and it renders every song anew"
    )
    changed = bulk("--require", "silence_share<2")
    assert changed.exit_code == 2
    assert "--require: was silence_share<0, is silence_share<2" in changed.stderr
    assert changed.stderr.endswith("; a new job renders every song anew\n")
