"""A rolling upgrade: processes of 0.1.0 and of this version share one table and one store, and no run is lost.

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
from pathlib import Path

import pytest

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from tests.api.toys import accept, all_ended, ends, opened, process, until

ROOT = Path(__file__).parents[2]
LAST_OF_0_1_0 = "b469a1a8c68947820e24bc6373fcbf9160d2c8b1"
PARTS = ("acestep_flows", "tests", "graphs", "deployments", ":!acestep_flows/checkpoints")

ACCEPT = """
import sys
from pathlib import Path
from tests.api.toys import accept, opened

with opened(Path(sys.argv[1])) as home:
    for seed in range(int(sys.argv[2])):
        print(accept(home, seed=seed, steps=5, pause=0.02).id)
"""


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


def environment(before: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(before)}


def accepted_by_0_1_0(before: Path, root: Path, count: int) -> list[str]:
    """Runs that 0.1.0 puts into the queue."""
    command = [sys.executable, "-c", ACCEPT, str(root), str(count)]
    done = subprocess.run(command, cwd=before, env=environment(before), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@contextmanager
def process_of_0_1_0(before: Path, root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An executor of 0.1.0, which is killed at the end."""
    command = [sys.executable, "-m", "tests.api.executor_process", str(root), "2"]
    started = subprocess.Popen(command, cwd=before, env=environment(before))
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def test_no_run_is_lost_on_the_way_there_and_back(before: Path, tmp_path: Path) -> None:
    root = tmp_path / "home"
    runs = accepted_by_0_1_0(before, root, 8)

    def ended(home: Home, count: int) -> bool:
        return sum(number for state, number in home.runs.counts().items() if state.ended) >= count

    async def roll() -> None:
        # The tables are brought up to date under a process that works.
        with process_of_0_1_0(before, root) as old, opened(root) as home:
            await until(lambda: ended(home, 2))
            runs.extend(accept(home, seed=seed, steps=5, pause=0.02).id for seed in range(100, 108))
            with process(root, 2) as young:
                await until(lambda: ended(home, 6))
                old.kill()  # in the middle of its runs
                with process_of_0_1_0(before, root) as again:
                    runs.extend(accepted_by_0_1_0(before, root, 4))
                    await until(lambda: ended(home, 12))
                    again.terminate()
                    await until(lambda: again.poll() is not None, 30)
                await all_ended(home, 60)
                young.terminate()
                await until(lambda: young.poll() is not None, 30)
            runs.extend(accept(home, seed=seed, steps=5, pause=0.02).id for seed in range(200, 204))
            with process_of_0_1_0(before, root):  # and back: nothing is restored
                await all_ended(home, 60)

    asyncio.run(roll())
    with opened(root) as home:
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
