"""docs/operating.md: its commands are those of the command line, and those that need no cluster run as they stand."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import NewOutput, RunState
from acestep_flows.cli.main import cli
from tests.api.door import Door
from tests.api.store.clock import new
from tests.api.store.conftest import postgres  # noqa: F401 - a fixture
from tests.api.toys import opened

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
OURS = re.compile(r"(?<!-u )acestep-flows [^;|>\n`]*")


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def blocks(heading: str, language: str = "sh") -> list[str]:
    """The code under a heading."""
    section = page().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


def shell(folder: Path, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run commands in a folder, with our command on the path."""
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | more
    command = ["bash", "-ec", script]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_every_command_and_option_exists() -> None:
    text = re.sub(r"\\\n\s*", "", page())
    code = "\n".join(
        "".join(found) for found in re.findall(r"```(?:sh|console)\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    )
    commands = OURS.findall(code)
    assert len(commands) > 20
    for text in commands:
        words = shlex.split(re.sub(r" 2$", "", text.strip()))[1:]  # before `2>>`
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group):
            _, found, words = command.resolve_command(context, words)
            assert found is not None, text
            command, context = found, click.Context(found, parent=context)
        with contextlib.suppress(click.MissingParameter):  # the page leaves out what it has said before
            command.make_context(command.name, words)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Home]:
    """The home of a server with a run that ended and its file, one that waits, and an upload."""
    with opened(tmp_path / "server") as home:
        fill(home)
        home.leases.renew(f"{socket.gethostname()[:40]}-1-aa", 2, [])
        yield home


def fill(home: Home) -> None:
    home.runs.accept(new(owner="alice"))
    claimed = home.leases.claim("e")
    assert claimed is not None
    output = NewOutput("audio", "audio", "audio/flac", "f.flac", home.artifacts.put(b"a song"), {"seconds": 1.0})
    assert home.leases.finish(claimed.lease, RunState.SUCCEEDED, outputs=[output])
    home.runs.accept(new(owner="alice"))
    home.assets.add(home.artifacts.put(b"an upload"), "audio", content_type="t", file_name="f", owner="alice")


@pytest.mark.parametrize("heading", ["Who did what", "Quotas and usage"])
def test_questions_are_answered(heading: str, server: Home) -> None:
    for script in blocks(heading):
        done = shell(server.root.parent, script)
        assert done.returncode == 0, done.stderr
        assert "alice" in done.stdout or (server.root.parent / "keys.json").exists()


def test_the_program_operates_a_server(door: Door) -> None:
    (program,) = blocks("From Python", "python")
    door.finished()
    env = os.environ | {"ACESTEP_FLOWS_SERVER": door.url}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "QueueHold(since=" in done.stdout
    assert "queue.resumed queue" in done.stdout
    assert door.client.get("/v1/queue").json()["paused"] is None


def test_pause_and_drain(server: Home) -> None:
    paused, drained = blocks("Pause, drain, stop")
    done = shell(server.root.parent, paused)
    assert done.returncode == 0, done.stderr
    assert "(new weights)" in done.stdout
    assert done.stdout.endswith("runs are started again\n")
    done = shell(server.root.parent, drained)
    assert done.returncode == 0, done.stderr
    assert "it can be stopped" in done.stdout
    actions = [record.action for record in reversed(server.audit.list())][-4:]
    assert actions == ["queue.paused", "queue.resumed", "server.drained", "server.resumed"]


def test_a_restored_backup_has_every_file_and_every_run(server: Home) -> None:
    saved, restored = blocks("Backup and restore")
    folder = server.root.parent
    done = shell(folder, saved)
    assert done.returncode == 0, done.stderr
    fill(server)  # after the backup
    done = shell(folder, saved.replace("backup", "second"))
    assert done.returncode == 0, done.stderr
    done = shell(folder, restored)
    assert done.returncode == 0, done.stderr
    assert "runs that wait: 1" in done.stdout
    with opened(folder / "restored") as home:
        check_restored(home)


def check_restored(home: Home) -> None:
    """The home has what `fill` made, once, and goes on."""
    assert {state.value: count for state, count in home.runs.counts().items() if count} == {"succeeded": 1, "queued": 1}
    (done,) = home.runs.list(state=RunState.SUCCEEDED).runs
    assert home.artifacts.open(done.outputs["audio"].digest).read() == b"a song"
    (upload,) = home.assets.uploads().assets
    assert home.artifacts.open(upload.digest).read() == b"an upload"
    assert home.quotas.used("alice").bytes == len(b"a song") + len(b"an upload")
    before = len(home.audit.list())
    claimed = home.leases.claim("e")
    assert claimed is not None
    assert home.leases.finish(claimed.lease, RunState.SUCCEEDED)
    home.runs.accept(new(owner="alice"))
    assert len(home.audit.list()) == before + 1, "the log goes on"
    numbers = [entry.number for entry in home.audit.list()]
    assert numbers == sorted(set(numbers), reverse=True)


def test_a_restored_backup_of_postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    if not shutil.which("pg_dump") and not programs:
        pytest.skip("no pg_dump on the PATH or in /usr/lib/postgresql")
    url = str(request.getfixturevalue("postgres"))
    psycopg = pytest.importorskip("psycopg")
    for name in ("backed", "restored"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"CREATE DATABASE {name}")
    source, target = (url.replace("/postgres?", f"/{name}?") for name in ("backed", "restored"))
    saved, loaded = (
        re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in blocks("Backup and restore", "console")
    )
    without_s3 = "\n".join(line for line in saved.splitlines() if not line.startswith("aws "))
    path = {"PATH": os.pathsep.join([*(str(folder) for folder in programs), os.environ["PATH"]])}
    home = Home.open(tmp_path / "home", database=source, artifacts=(tmp_path / "bucket").as_uri())
    with contextlib.closing(home):
        fill(home)
        done = shell(tmp_path, f"mkdir backup\n{without_s3}\ncp -R bucket backup/artifacts", DATABASE=source, **path)
        assert done.returncode == 0, done.stderr
    line = next(line for line in loaded.splitlines() if line.startswith("pg_restore"))
    Database(target).close()  # tables that are there are replaced
    done = shell(tmp_path, line, DATABASE=target, **path)
    assert done.returncode == 0, done.stderr
    restored = Home.open(tmp_path / "other", database=target, artifacts=(tmp_path / "backup" / "artifacts").as_uri())
    with contextlib.closing(restored):
        check_restored(restored)


def test_links_within_the_documentation_lead_somewhere() -> None:
    def anchors(file: Path) -> set[str]:
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    for target in re.findall(r"\]\(([^)]+)\)", page()):
        name, _, anchor = target.partition("#")
        file = (PAGE.parent / name).resolve() if name else PAGE
        assert file.exists(), target
        assert not anchor or file.suffix != ".md" or anchor in anchors(file), target


def test_whoever_operates_finds_the_page() -> None:
    assert "(docs/operating.md)" in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert "(operating.md)" in (PAGE.parent / "serving.md").read_text(encoding="utf-8")
