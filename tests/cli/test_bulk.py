"""The bulk command as far as it goes without rendering: checks, prices, refusals. Whole jobs are in tests/bulk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acestep_flows.cli.main import cli

Invoke = Callable[..., Result]
GRAPH = ("--graph", "text2music", "--out", "job")
LOCAL = ("--pool", "local", "--checkpoint", "embedded")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that the tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def invoke(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    for name in ("ACESTEP_FLOWS_CHECKPOINT", "ACESTEP_FLOWS_LYRIC_VOCAB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(cli, ["bulk", *(str(arg) for arg in args)])


def manifest(folder: Path, rows: Sequence[Any]) -> str:
    (folder / "songs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "songs.jsonl"


def test_a_dry_run_checks_and_prices_and_writes_nothing(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": f"style {i}", "duration": 10} for i in range(3)])
    result = invoke(url, *GRAPH, *LOCAL, "--sweep", "seed=0..9", "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "30 songs"
    assert lines[-1] == "music: 5 min, about 37.5 MB of audio files"
    assert not (tmp_path / "job").exists()


def test_a_dry_run_of_a_part_counts_its_rows(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": f"style {i}"} for i in range(10)])
    result = invoke(url, *GRAPH, *LOCAL, "--shard", "3/4", "--dry-run")
    assert result.stdout.startswith("2 songs"), result.output


def test_bad_rows_are_all_listed_and_refused(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": 1}, {"tags": "ok"}, {"bpm": 3}])
    result = invoke(url, *GRAPH, *LOCAL)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "line 1: tags: 1 (allowed: text)",
        "line 3: " + result.stderr.splitlines()[1].removeprefix("line 3: "),
        "error: songs.jsonl: 2 of 3 rows cannot be rendered (allowed: good rows, or --on-bad-row skip)",
    ]
    assert "no input 'bpm'" in result.stderr
    assert "tags: missing" in result.stderr
    assert not (tmp_path / "job").exists()


def test_one_fault_of_all_rows_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": f"{i}", "duration": 3} for i in range(5)])
    result = invoke(url, *GRAPH, "--set", "duration=2")
    assert result.stderr.splitlines()[0] == (
        "lines 1-5: column duration is given by --set too; "
        "leave out one of them (--ignore duration leaves out the column)"
    )
    assert len(result.stderr.splitlines()) == 2
    (tmp_path / "songs.csv").write_text("tags,mood\nfolk,3\n")
    table = invoke("songs.csv", *GRAPH)
    assert table.stderr.startswith(
        "error: songs.csv: no input 'mood', perhaps tags: the mood is among its words; allowed: "
    )
    assert table.stderr.endswith("; --ignore mood leaves it out\n")
    assert table.stderr.count("allowed") == 1
    (tmp_path / "songs.csv").write_text("tags,mood,genre\nfolk,3,4\n")
    table = invoke("songs.csv", *GRAPH)
    assert table.stderr.count("allowed") == 1, "the inputs stand after the last column"
    assert "--ignore mood leaves it out; no input 'genre'" in table.stderr


def test_a_fault_of_every_row_is_told_as_such(invoke: Invoke, tmp_path: Path) -> None:
    allowed = "(allowed: good rows, or --on-bad-row skip)"
    alike = invoke(manifest(tmp_path, [{"tags": f"{i}", "mood": 3} for i in range(3)]), *GRAPH)
    assert alike.stderr.splitlines()[-1] == (
        f"error: songs.jsonl: none of the 3 rows can be rendered, all for the same reason {allowed}"
    )
    unlike = invoke(manifest(tmp_path, [{"tags": "a", "mood": 3}, {"tags": 1}]), *GRAPH)
    assert unlike.stderr.splitlines()[-1] == f"error: songs.jsonl: none of the 2 rows can be rendered {allowed}"


def test_it_says_which_pool_it_chose(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": "ok"}])
    for args in ((), ("--pool", "auto")):
        result = invoke(url, *GRAPH, "--checkpoint", "embedded", "--dry-run", *args)
        assert result.exit_code == 0, result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("pool: ")]
        assert line.startswith("pool: auto: ")
        assert "memory free" in line
    assert "pool: " not in invoke(url, *GRAPH, *LOCAL, "--dry-run").stderr
    quiet = invoke(url, *GRAPH, "--checkpoint", "embedded", "--dry-run", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_a_dry_run_says_money_where_an_hour_has_a_price(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": "ok", "duration": 3}])
    result = invoke(url, *GRAPH, *LOCAL, "--dry-run", "--price-per-hour", "2.5")
    assert result.exit_code == 0, result.output
    assert any(line.startswith(("cost: ", "time: not known")) for line in result.stdout.splitlines())


def test_bad_rows_may_be_skipped(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": 1}, {"tags": "ok"}])
    result = invoke(url, *GRAPH, *LOCAL, "--on-bad-row", "skip", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == "line 1: tags: 1 (allowed: text)"


def test_a_job_may_be_all_sweeps(invoke: Invoke) -> None:
    result = invoke(*GRAPH, *LOCAL, "--set", "tags=funk", "--sweep", "seed=0..4", "--dry-run")
    assert result.stdout.startswith("5 songs"), result.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("absent.csv", *GRAPH), "no such file"),
        (GRAPH, "error: no manifest, and no --set or --sweep gives tags (allowed: a manifest with a column"),
        ((*GRAPH, "--sweep", "seed=0..2"), "error: no manifest, and no --set or --sweep gives tags"),
        (("songs.jsonl", "--graph", "text2musik", "--out", "job"), "nearest 'text2music'"),
        (("songs.jsonl", *GRAPH, "--set", "steps=0"), "steps: 0 (allowed: 1 to 200)"),
        (("songs.jsonl", *GRAPH, "--set", "tags=x"), "given by --set too"),
        (("songs.jsonl", *GRAPH, "--sweep", "seed=9..0"), "rising range"),
        (("songs.jsonl", *GRAPH, "--require", "quiet<1"), "no measurement 'quiet'"),
        (("songs.jsonl", *GRAPH, "--retake", "2"), "together with --require"),
        (("songs.jsonl", *GRAPH, "--retake", "2", "--checkpoint", "nowhere"), "together with --require"),
        (("absent.csv", *GRAPH, "--retake", "2"), "together with --require"),
        (("songs.jsonl", *GRAPH, "--output", "latents", "--checkpoint", "nowhere"), "no single audio"),
        (("songs.jsonl", *GRAPH, "--require", "loud", "--checkpoint", "nowhere"), "compares nothing"),
        (("songs.jsonl", *GRAPH, "--sweep", "steps=8-10"), "8..10 for a range"),
        (("songs.jsonl", *GRAPH, "--price-per-hour", "2"), "together with --dry-run"),
        (("songs.jsonl", *GRAPH, "--shard", "0/4"), "--shard"),
        (("songs.jsonl", *GRAPH, "--pool", "absent"), "no pool"),
        (("songs.jsonl", *GRAPH, "--checkpoint", "nowhere"), "no folder"),
        (("songs.jsonl", *GRAPH, "--output", "latents"), "no single audio"),
        (("songs.jsonl", *GRAPH, "--via", "http://127.0.0.1:9", "--pool", "local"), "without --via"),
        (("songs.jsonl", *GRAPH, "--via", "http://127.0.0.1:9", "--dry-run"), "without --via"),
        (("songs.jsonl", *GRAPH, "--embed", "--format", "webdataset"), "--embed"),
        (("songs.jsonl", *GRAPH, "--format", "zip"), "--format"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    invoke: Invoke, tmp_path: Path, args: tuple[str, ...], words: str
) -> None:
    manifest(tmp_path, [{"tags": "ok"}])
    result = invoke(*args)
    assert result.exit_code in (2, 3), result.output
    assert words in result.stderr
    assert not (tmp_path / "job").exists()


def test_refusals_before_rendering_import_neither_torch_nor_ray(tmp_path: Path) -> None:
    manifest(tmp_path, [{"tags": 1}])
    script = (
        "import sys; from click.testing import CliRunner; from acestep_flows.cli.main import cli;"
        f"done = CliRunner().invoke(cli, ['bulk', 'songs.jsonl', *{GRAPH!r}]); assert done.exit_code == 2, done.output;"
        "print(sorted({'torch', 'ray', 'transformers', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_folder_that_cannot_be_written_is_told_at_once(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file")
    result = invoke(manifest(tmp_path, [{"tags": "ok"}]), *GRAPH, *LOCAL)
    assert result.exit_code == 4, result.output


def test_bytes_that_are_not_utf8_are_told_once(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_bytes(b"tags,steps\ncaf\xe9,10\n")
    assert invoke("songs.csv", *GRAPH).stderr.splitlines()[0] == "line 2: tags: not UTF-8"


def test_wrong_columns_hide_no_bad_rows(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_text("tags,mood,steps\nfolk,3,10\npop,4,many\n")
    result = invoke("songs.csv", *GRAPH)
    assert result.exit_code == 2
    bad, error = result.stderr.splitlines()
    assert bad == "line 3: steps: 'many' is not a number (allowed: a whole number)"
    assert error.startswith("error: songs.csv: no input 'mood', perhaps tags: the mood is among its words; allowed: ")
    assert error.endswith("--ignore mood leaves it out; 1 of 2 rows cannot be rendered")
    (tmp_path / "songs.csv").write_text("mood,steps\n3,many\n")
    result = invoke("songs.csv", *GRAPH, "--on-bad-row", "skip")
    assert result.exit_code == 2
    assert "no input 'mood'" in result.stderr
    assert "tags: missing (allowed: text); a column or --set gives it" in result.stderr
    assert "line 2: steps" in result.stderr


def test_a_dry_run_counts_no_bad_rows_and_lists_them_for_programs(invoke: Invoke, tmp_path: Path) -> None:
    url = manifest(tmp_path, [{"tags": 1}, {"tags": "ok"}, {"tags": 1}, {"tags": "fine"}, {"bpm": 3}])
    result = invoke(url, *GRAPH, *LOCAL, "--on-bad-row", "skip", "--dry-run")
    assert result.stdout.splitlines()[0] == "2 songs"
    assert result.stdout.splitlines()[-1] == "3 rows cannot be rendered and are skipped"
    found = json.loads(invoke(url, *GRAPH, *LOCAL, "--on-bad-row", "skip", "--dry-run", "--json").stdout)
    assert (found["rows"], found["bad_rows"]) == (2, 3)
    assert found["bad"][0] == {"problem": "tags: 1 (allowed: text)", "rows": 2, "lines": [[1, 1], [3, 3]]}
    refused = invoke(url, *GRAPH, *LOCAL, "--dry-run", "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["bad"] == found["bad"]
    part = invoke(url, *GRAPH, *LOCAL, "--on-bad-row", "skip", "--dry-run", "--shard", "2/2")
    assert part.stdout.splitlines()[0] == "2 songs", "rows 2 and 4"


def test_a_broken_quote_is_refused_with_its_line_also_where_bad_rows_are_skipped(
    invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "songs.csv").write_text('id,tags\n1,pop\n2,"never closed\n3,folk\n')
    result = invoke("songs.csv", *GRAPH, *LOCAL, "--on-bad-row", "skip", "--dry-run")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: songs.csv: line 3: a quote is not closed")


def test_literal_line_breaks_are_read_in_csv_and_told_elsewhere(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_text("tags,lyrics\npop,[verse]\\nla la\nfolk,[verse]\\nlu lu\n")
    result = invoke("songs.csv", *GRAPH, *LOCAL, "--dry-run")
    assert result.exit_code == 0, result.output
    assert r"note: lines 2-3: lyrics: \n is read as a line break" in result.stderr.splitlines()
    url = manifest(tmp_path, [{"tags": "pop", "lyrics": "[verse]\\nla la"}])
    result = invoke(url, *GRAPH, *LOCAL, "--dry-run")
    assert r"note: line 1: lyrics: \n is two characters, not a line break" in result.stderr.splitlines()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_song_ends_with_a_word(tmp_path: Path, kind: signal.Signals) -> None:
    script = (
        "import os, signal, acestep_flows.bulk.check as check; from acestep_flows.cli.main import cli;"
        f"check.check = lambda rows: os.kill(os.getpid(), {int(kind)}) or __import__('time').sleep(60);"
        f"cli(['bulk', 'songs.jsonl', *{GRAPH!r}])"
    )
    manifest(tmp_path, [{"tags": "ok"}])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 128 + kind
    assert done.stderr == "stopped; the same command goes on\n"


def test_rows_that_were_given_up_are_an_exit_code(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of this job can be rendered, so no process starts."""
    monkeypatch.setattr("acestep_flows.bulk.pool_renderer.PoolRenderer.render", lambda *args, **more: None)
    url = manifest(tmp_path, [{"tags": 1}, {"tags": 2}])
    options = (*GRAPH, *LOCAL, "--on-bad-row", "skip", "--tracking", "off")
    for _ in range(2):  # also when there is nothing left to do
        result = invoke(url, *options)
        assert result.exit_code == 8, result.output
        assert "2 rows were given up; " in result.stderr
        assert "  1 row: tags: 1 (allowed: text)" in result.stderr.splitlines()
        assert result.stdout.splitlines() == [str(tmp_path / "job" / "report.html")]  # there is no data set
    changed = invoke(url, *options, "--audio", "mp3")
    assert changed.exit_code == 2
    assert 'begins a new one; --audio: was "flac"' in changed.stderr
    assert '--audio: was "flac", is "mp3" (a job has one, also in all its parts)' in changed.stderr


def test_a_server_that_is_not_there_is_one_line_and_nothing_is_written(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acestep_flows.bulk.server_renderer.FIRST_PATIENCE", 0.2)
    url = manifest(tmp_path, [{"tags": "ok"}])
    result = invoke(url, *GRAPH, "--via", "http://127.0.0.1:9")
    assert result.exit_code == 5
    assert result.stderr.startswith("error: http://127.0.0.1:9 does not answer")
    assert result.stderr.count("\n") == 1
    assert "ACESTEP_FLOWS_SERVER" not in result.stderr
    assert not (tmp_path / "job").exists()
