"""Ray that does not start in time is started once more, and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving import private_folder
from acestep_flows.runtime.serving.local_ray import RAYLET, own_ray

pytest.importorskip("ray")
LATE = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


class SlowRay:
    """Stands in for `ray.init`: starts a process, as Ray does, and is too late the first times."""

    def __init__(self, late: int, error: BaseException | None = None) -> None:
        self.late, self.error = late, error or Exception(LATE)
        self.started: list[subprocess.Popen[bytes]] = []
        self.folders: list[str] = []

    def __call__(self, **options: Any) -> None:
        self.folders.append(options["_temp_dir"])
        self.started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]))
        if len(self.started) <= self.late:
            raise self.error


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(private_folder, "OTHER_PLACES", ())
    monkeypatch.setattr(private_folder, "LONGEST_SOCKET", 4000)  # pytest's own folders have long paths


def use(ray: SlowRay, monkeypatch: pytest.MonkeyPatch) -> SlowRay:
    monkeypatch.setattr("ray.init", ray)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("acestep_flows.runtime.serving.local_ray.STOP_SECONDS", 0.0)
    return ray


def nothing_is_left(ray: SlowRay, folder: Path) -> bool:
    ended = [process.wait(10) is not None for process in ray.started]
    return all(ended) and not list(folder.glob(f"{private_folder.PREFIX}*"))


def test_it_is_started_once_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ray = use(SlowRay(late=1), monkeypatch)
    with own_ray(1):
        assert ray.started[0].wait(10) is not None, "what the first attempt started is gone"
        assert ray.started[1].poll() is None
        assert ray.folders[0] != ray.folders[1]
    assert nothing_is_left(ray, tmp_path)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "Ray did not start; it is started once more"
    ]


def test_twice_late_is_an_ordinary_error_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray = use(SlowRay(late=5), monkeypatch)
    with pytest.raises(FlowsError) as refused, own_ray(1):
        pass
    said = str(refused.value)
    assert said.startswith("Ray did not start, tried 2 times: is the machine too busy? The same command goes on.")
    assert "timed out during startup" in said
    assert "\n" not in said
    assert len(ray.started) == 2
    assert nothing_is_left(ray, tmp_path)


def test_ctrl_c_is_no_reason_to_start_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray = use(SlowRay(late=1, error=KeyboardInterrupt()), monkeypatch)
    with pytest.raises(KeyboardInterrupt), own_ray(1):
        pass
    assert len(ray.started) == 1
    assert nothing_is_left(ray, tmp_path)


def test_other_processes_of_ours_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also those that are started while Ray runs."""
    ray = use(SlowRay(late=0), monkeypatch)
    sleep = [sys.executable, "-c", "import time; time.sleep(100)"]
    others = [subprocess.Popen(sleep)]
    with own_ray(1):
        others.append(subprocess.Popen(sleep))
    left = [process.poll() for process in others]
    for process in others:
        process.kill()
        process.wait(10)
    assert left == [None, None]
    assert nothing_is_left(ray, tmp_path)


def test_a_worker_that_was_never_noted_ends_with_a_dead_raylet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is below no process of ours any more, so only what the raylet has given it tells whose it is."""
    ray = use(SlowRay(late=0), monkeypatch)
    sleep = [sys.executable, "-c", "import time; time.sleep(100)"]
    with own_ray(1) as own:
        raylet, other = (subprocess.Popen(sleep) for _ in range(2))
        own._core = {"raylet": psutil.Process(raylet.pid)}
        of_raylet, of_other = (subprocess.Popen(sleep, env=os.environ | {RAYLET: str(p.pid)}) for p in (raylet, other))
        raylet.kill()
        raylet.wait(10)
    assert of_raylet.wait(10) == -signal.SIGKILL
    assert (other.poll(), of_other.poll()) == (None, None)
    for process in (other, of_other):
        process.kill()
        process.wait(10)
    assert nothing_is_left(ray, tmp_path)
