"""README's commands, as they stand and in their order, in a fresh clone with nothing but `make demo` behind it.

Left out is only what cannot be run here: `make test`, which runs this, the studio, which is for people and does not
end, and what needs the published weights. The server takes a free port in place of 8777, and small random weights stand
for acestep-nano, which other tests run. `.venv` is the environment of these tests, so that nothing is installed anew;
that `make demo` installs enough is what `tests/base_install` is for.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import soundfile

from acestep_flows.audio import read, tags
from tests.served.server import WEIGHTS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LEFT_OUT = (
    "make test",
    "acestep-flows studio",
    "acestep-flows fetch ",
    'acestep-flows run text2music --set tags="city pop',
)
"""Beginnings of commands that are not run; each must be there, so that none is left out by mistake."""
SERVE = "acestep-flows serve --home server"
KILL, KEEP = "kill -9", "mkdir -p bulk/results && cp -r bulk/results killed"
"""README kills a job. What it had written by then is looked at later."""


@dataclass
class Walk:
    """README's commands, typed one after the other.

    Attributes:
        folder: the clone.
        printed: stdout of the blocks, by the command of ours that they begin with: `run`, `bulk`, `submit`.
        said: their stderr.
    """

    folder: Path
    printed: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


def blocks() -> list[list[str]]:
    """The commands of every block of README, without prompts; one that goes on over several lines is one command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [re.split(r"\n\$ ", "\n" + block)[1:] for block in BLOCK.findall(text)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files under version control, as they are now, and an environment that counts as made by `make demo`."""
    for module in ("ray", "fastapi", "sqlalchemy", "pyarrow"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("clone") / "acestep_flows"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    environment = Path(sys.executable).parents[1]
    for part in ("bin", "lib", "pyvenv.cfg"):
        if (environment / part).exists():
            (folder / ".venv" / part).symlink_to(environment / part)
    for stamp in (".made", ".run"):
        (folder / ".venv" / stamp).touch()
    return folder


@pytest.fixture(scope="module")
def env(clone: Path, small_root: Path) -> dict[str, str]:
    """The environment of a user who has small weights, with a browser that writes down what it is to open."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACESTEP_", "RAY_", "MAKE"))}
    browser = clone.parent / "browser"
    browser.write_text('#!/bin/sh\nprintf "%s" "$1" > opened\n')
    browser.chmod(0o755)
    path = f"{clone / '.venv' / 'bin'}{os.pathsep}{inherited.get('PATH', '')}"
    cache = clone.parent / "cache"
    cache.mkdir()
    (cache / WEIGHTS).symlink_to(small_root)
    own = {"ACESTEP_FLOWS_CACHE": str(cache), "ACESTEP_FLOWS_CHECKPOINT": str(cache / WEIGHTS), "BROWSER": str(browser)}
    # The environment belongs to whoever runs the tests: make takes it as it is, and pip could install nothing into it.
    own |= {"MAKEFLAGS": "--old-file=.venv/.run --old-file=.venv/.made", "PIP_DRY_RUN": "1"}
    return inherited | own | {"PATH": path, "PYTHONPATH": str(clone)}


@contextmanager
def served(clone: Path, env: dict[str, str]) -> Iterator[str]:
    """The address of README's server while it runs."""
    with (clone / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*SERVE.split(), "--port", "0"], cwd=clone, env=env, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            ready = next((found for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
            assert ready is not None, (clone / "server.log").read_text()
            yield ready[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
            assert process.stdout is not None
            process.stdout.close()


def typed(command: str, walk: Walk, env: dict[str, str], name: str) -> None:
    """Type a block of commands."""
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{command}"], cwd=walk.folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "a bug" not in done.stderr
    walk.printed[name] = walk.printed.get(name, "") + done.stdout
    walk.said[name] = walk.said.get(name, "") + done.stderr


def chapter(block: list[str]) -> str:
    """Which command of ours a block is about."""
    found = re.search(r"acestep-flows ([a-z-]+)", "\n".join(block))
    return found[1] if found else ""


@pytest.fixture(scope="module")
def walk(clone: Path, env: dict[str, str]) -> Walk:
    """All of README's commands are typed."""
    walk = Walk(clone)
    pending = [[command for command in block if not command.startswith(LEFT_OUT)] for block in blocks()]
    serving = next(number for number, block in enumerate(pending) if f"{SERVE}\n" in block)
    for number, block in enumerate(pending):
        if number == serving:
            assert len(block) == 1
            with served(clone, env) as address:
                typed("\n".join(pending[serving + 1]), walk, env | {"ACESTEP_FLOWS_SERVER": address}, "submit")
        elif number != serving + 1:
            lines = [f"{command}\n{KEEP}\n" if KILL in command else command for command in block]
            typed("\n".join(lines), walk, env, chapter(block))
    return walk


def test_nothing_is_left_out_by_mistake() -> None:
    commands = [command for block in blocks() for command in block]
    assert commands[0].startswith("make demo")
    assert len(commands) > 15
    assert all(any(command.startswith(left_out) for command in commands) for left_out in LEFT_OUT)
    assert commands.count(f"{SERVE}\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_runs_in_its_order(walk: Walk) -> None:
    folder = walk.folder
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.suffix in (".wav", ".flac")}
    songs = ("song", "repainted", "retake", "longer", "chain")
    assert {f"outputs/{name}.wav" for name in songs} <= written
    assert len(list((folder / "outputs").glob("*.wav"))) == len(songs) + 1, "and the demo"


@pytest.mark.slow
def test_a_song_of_the_server_and_an_edit_of_it(walk: Walk) -> None:
    songs = [walk.folder / line for line in walk.printed["submit"].strip().splitlines()]
    assert [song.suffix for song in songs] == [".flac", ".flac"]
    before, after = (soundfile.read(song)[0] for song in songs)
    assert soundfile.info(songs[0]).duration == pytest.approx(10, rel=0.02)
    assert before.shape == after.shape
    assert abs(before - after).max() > 1e-3


@pytest.mark.slow
def test_a_job_killed_resumed_reported_and_loaded(walk: Walk) -> None:
    import pyarrow.parquet as pq

    folder = walk.folder
    assert "the job goes on" in walk.said["bulk"]
    assert "pool: auto: " in walk.said["bulk"]
    assert "RAY_" not in walk.said["bulk"], "no lines of Ray itself"

    before = {row["id"]: row["finished"] for path in (folder / "killed").glob("*.parquet") for row in _rows(path)}
    results = [row for path in (folder / "bulk" / "results").glob("*.parquet") for row in _rows(path)]
    assert len(before) < 20
    assert len(results) == len({row["id"] for row in results}) == 20
    assert {id: row["finished"] for row in results if (id := row["id"]) in before} == before  # not made twice

    songs = pq.read_table(folder / "bulk" / "dataset")
    assert songs.num_rows == 20
    assert songs["status"].unique().to_pylist() == ["done"]
    for row in songs.select(["audio", "duration", "seed"]).to_pylist():
        song = read.audio(row["audio"]["path"])
        assert song.seconds == pytest.approx(row["duration"])
        assert tags.read(row["audio"]["path"]).recipe
    assert not list((folder / "bulk").rglob("*.part"))
    assert "id: string" in walk.printed["bulk"]

    report = Path(unquote(urlparse((folder / "opened").read_text()).path)).read_text()
    assert report.count("<audio ") == 10
    assert "songs of 20 rows" in report


def _rows(path: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, object]] = pq.read_table(path, columns=["id", "finished"]).to_pylist()
    return rows
