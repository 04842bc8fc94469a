"""What is told while a server starts, and what stops it before the slow part of the start."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.server import start_report
from acestep_flows.api.server.address import bound, hold, url_of
from acestep_flows.api.server.options import ServerOptions
from acestep_flows.api.server.start_report import StartReport
from acestep_flows.api.store.home_lock import HOLDER, locked_home
from acestep_flows.errors import Conflict, InputError, StorageError
from acestep_flows.runtime.serving.loading import LoadingNotes

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from acestep_flows.api.store.home_lock import locked_home
with locked_home(Path(sys.argv[1]), "http://127.0.0.1:1"):
    print("held", flush=True)
    time.sleep(100)
"""


BUSY = """
import ray
def late(**options):
    raise Exception("The current node timed out during startup.")
ray.init = late
from acestep_flows.cli.main import main
main()
"""


def test_a_machine_too_busy_for_ray_is_an_ordinary_error(tmp_path: Path) -> None:
    """Through the whole command, whose output is diverted meanwhile."""
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-c", BUSY, "serve", "--home", "home", "--port", "0", "--pool", "local"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ACESTEP_FLOWS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert lines[-3] == "starting Ray"
    assert lines[-2].endswith("Z warning: Ray did not start; it is started once more")
    assert lines[-1].startswith("error: Ray did not start, tried 2 times: is the machine too busy? The same command ")
    assert "a bug" not in done.stderr
    assert done.stdout == ""


def test_a_home_in_use_is_refused_and_a_dead_holder_is_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Conflict) as refused, locked_home(home, "http://127.0.0.1:2"):
            pass
        assert f"{home}: in use by the server at http://127.0.0.1:1 (process {holder.pid})" in str(refused.value)
        assert "--home" in str(refused.value)
        holder.kill()
    with locked_home(home, "http://127.0.0.1:2"):
        assert json.loads((home / HOLDER).read_text())["address"] == "http://127.0.0.1:2"
    assert not (home / HOLDER).exists()


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(StorageError) as refused, locked_home(home, "x"):
            pass
        assert str(refused.value).startswith(f"{home}: cannot be written: ")
        assert "\n" not in str(refused.value)


def test_a_taken_port_says_how_to_get_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError) as refused, bound("127.0.0.1", port):
            pass
    assert str(refused.value) == (
        f"--port: 127.0.0.1:{port}: in use by another program (allowed: a free port; 0 takes any)"
    )
    with bound("127.0.0.1", 0) as free:
        assert url_of(free).startswith("http://127.0.0.1:")


def test_a_port_is_taken_while_its_server_starts() -> None:
    with bound("127.0.0.1", 0) as starting:
        host, port = starting.getsockname()
        with pytest.raises(InputError, match="in use by another program"), bound(host, port):
            pass
        hold(starting, alone=False)
        starting.listen()
        with socket.create_connection((host, port)), starting.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    with bound(host, port):  # the connection that the server closed first does not keep the next one away
        pass


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"folders": (Path("nowhere"),)}, "--graphs: nowhere: no such folder"),
        ({"origins": ("https://a.example", "studio.example.org")}, "--origin: 'studio.example.org' is not an origin"),
        ({"origins": ("https://a.example/page",)}, "--origin: 'https://a.example/page' is not an origin"),
    ],
)
def test_an_option_that_does_nothing_is_refused(option: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ServerOptions(host="127.0.0.1", port=0, home=tmp_path, pool="local", **option)
    ServerOptions(
        host="127.0.0.1", port=0, home=tmp_path, pool="local", folders=(tmp_path,), origins=("*", "http://[::1]:3000/")
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"pool": "auto", "rehearse": True}, "--pool: auto is the pool of this machine .*with --rehearse"),
        ({"pool": "auto", "ray": "127.0.0.1:6379"}, "--pool: auto is the pool of this machine .*with --ray"),
        ({"pool": "gpu-pool", "ray": "auto", "rehearse": True}, "--rehearse: .*allowed: without --ray"),
    ],
)
def test_a_cluster_and_a_rehearsal_need_a_pool_and_exclude_each_other(
    option: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ServerOptions(host="127.0.0.1", port=0, home=tmp_path, **option)


def test_a_pool_without_room_is_refused_before_anything_starts(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-m", "acestep_flows.cli", "serve", "--home", "home", "--port", "0", "--pool", "gpu-pool"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ACESTEP_FLOWS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    first, line = done.stderr.splitlines()
    assert first == "starting"
    assert done.returncode == 2, done.stderr
    assert line.startswith("error: --pool: pool gpu-pool: no place for 6 of 6 samplers (4 CPU and 1 GPU each)")
    assert not (tmp_path / "home").exists()


def test_no_phase_is_silent_for_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(start_report, "PAUSE", 0.3)
    monkeypatch.setattr(start_report, "LEAST", 0.1)
    monkeypatch.setattr(start_report, "POLL", 0.02)
    told: list[str] = []
    notes = LoadingNotes(tmp_path / "notes")
    with StartReport(told.append) as report:
        report.phase("starting Ray")
        wait_for(lambda: "starting Ray (0 s)" in told)
        report.phase("starting 1 process")
        with report.following(LoadingNotes(tmp_path / "notes")):
            notes.add("process all: loading sample")
            wait_for(lambda: told[-1] == "process all: loading sample (0 s)")
            seen = len(told)
            wait_for(lambda: len(told) > seen)
            assert told[-1] == "process all: loading sample (0 s)", "what takes long is told again"
    assert (told[0], "starting 1 process" in told) == ("starting Ray", True)
    assert not (tmp_path / "notes").exists()
    notes.add("a process that is replaced later")
    assert not (tmp_path / "notes").exists()


def test_notes_are_taken_whole_and_once(tmp_path: Path) -> None:
    notes, writer = LoadingNotes(tmp_path / "notes"), LoadingNotes(tmp_path / "notes")
    notes.open()
    assert notes.take() == []
    writer.add("one")
    writer.add("two")
    assert notes.take() == ["one", "two"]
    with (tmp_path / "notes").open("ab") as file:
        file.write(b"thr")
        file.flush()
        assert notes.take() == []
        file.write(b"ee\n")
    assert notes.take() == ["three"]


def wait_for(true: object, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)
