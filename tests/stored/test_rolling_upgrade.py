"""A rolling upgrade: processes of 0.1.0 and of this version share a table and a store. No run is lost, none ends twice.

0.1.0 is taken from the history of this repository and runs as it was, with its own toy stages, which are the same.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from tests.api.store.conftest import postgres  # noqa: F401 - a fixture
from tests.api.store.with_tables import new_postgres
from tests.api.toys import accept, all_ended, ends, opened, process, until

ROOT = Path(__file__).parents[2]
LAST_OF_0_1_0 = "b469a1a8c68947820e24bc6373fcbf9160d2c8b1"
PARTS = ("acestep_flows", "tests", "graphs", "deployments", ":!acestep_flows/checkpoints")

OPENED = """
import asyncio, contextlib, sys
from pathlib import Path
from acestep_flows.api.store.home import Home
from tests.api import toys

root, count, database = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] or None

@contextlib.contextmanager
def opened(root, lease=toys.LEASE):
    with contextlib.closing(Home.open(root, database=database, lease=lease)) as home:
        yield home

toys.opened = opened
"""
"""Opens a store in a database, which the toys of 0.1.0 do not."""

ACCEPT = (
    OPENED
    + """
with opened(root) as home:
    for seed in range(count):
        print(toys.accept(home, seed=seed, steps=5, pause=0.02).id)
"""
)

EXECUTE = (
    OPENED
    + """
asyncio.run(toys.serve(root, count))
"""
)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 0.1.0."""
    folder = tmp_path_factory.mktemp("v0.1.0")
    archive = folder / "archive.tar"
    command = ["git", "archive", "--output", str(archive), LAST_OF_0_1_0, "--", *PARTS]
    taken = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if taken.returncode:
        pytest.skip(f"no history with 0.1.0 here: {taken.stderr.strip()}")
    with tarfile.open(archive) as opened_archive:
        opened_archive.extractall(folder, filter="data")
    assert '__version__ = "0.1.0"' in (folder / "acestep_flows" / "__init__.py").read_text()
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty database; None is a file in the home folder."""
    if request.param == "sqlite":
        return None
    return new_postgres(request.getfixturevalue("postgres"), tables=False)


@dataclass(frozen=True)
class Former:
    """0.1.0 in processes of its own, with its code from `folder`."""

    folder: Path
    root: Path
    database: str | None

    def accept(self, count: int) -> list[str]:
        """Put runs into the queue. Returns their ids."""
        command = self._command(ACCEPT, count)
        done = subprocess.run(command, **self._there(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).split()

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """An executor, which is killed at the end."""
        started = subprocess.Popen(self._command(EXECUTE, 2), **self._there())
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()
            started.wait()

    def _command(self, program: str, count: int) -> list[str]:
        return [sys.executable, "-c", program, str(self.root), str(count), self.database or ""]

    def _there(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": {**os.environ, "PYTHONPATH": str(self.folder)}}


def test_no_run_is_lost_on_the_way_there_and_back(before: Path, database: str | None, tmp_path: Path) -> None:
    root = tmp_path / "home"
    former = Former(before, root, database)
    runs = former.accept(8)

    def ended(home: Home, count: int) -> bool:
        return sum(number for state, number in home.runs.counts().items() if state.ended) >= count

    async def roll() -> None:
        # The tables are brought up to date under a process that works.
        with former.process() as old, opened(root, database=database) as home:
            await until(lambda: ended(home, 2))
            runs.extend(accept(home, seed=seed, steps=5, pause=0.02).id for seed in range(100, 108))
            with process(root, 2, database) as young:
                await until(lambda: ended(home, 6))
                old.kill()  # in the middle of its runs
                with former.process() as again:
                    runs.extend(former.accept(4))
                    await until(lambda: ended(home, 12))
                    again.terminate()
                    await until(lambda: again.poll() is not None, 30)
                await all_ended(home, 60)
                young.terminate()
                await until(lambda: young.poll() is not None, 30)
            runs.extend(accept(home, seed=seed, steps=5, pause=0.02).id for seed in range(200, 204))
            with former.process():  # and back: nothing is restored
                await all_ended(home, 60)

    asyncio.run(roll())
    with opened(root, database=database) as home:
        assert home.runs.counts()[RunState.SUCCEEDED] == len(runs) == 24
        for run in runs:
            assert ends(home, run) == ["succeeded"], run
            record = home.runs.get(run)
            assert [*record.outputs] == ["audio", "latents", "report", "recipe"]
            assert home.artifacts.open(record.outputs["audio"].digest).read(4) == b"fLaC"
            seqs = [event.seq for event in home.runs.events(run)]
            assert seqs == [*range(1, len(seqs) + 1)]
        submitted = [entry.object for entry in home.audit.list(action="run.submitted")]
        assert set(submitted) >= set(runs[8:]), "the log has what both versions accepted"
        stored = sum(output.bytes for run in runs for output in home.runs.get(run).outputs.values())
        assert home.quotas.used("").bytes == stored
