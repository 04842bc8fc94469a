"""`serve run` with the shipped configuration: runs end once while each kind of process is killed."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
import soundfile
import yaml

from acestep_flows.client import Client
from acestep_flows.runtime.serving.pool import shipped
from acestep_flows.stages.registry import stages
from tests.served.server import environment
from tests.waiting import eventually

pytestmark = [pytest.mark.slow]

KINDS = {
    "encoders": ["encode_prompt", "encode_lyrics", "encode_audio"],
    "sampler": ["sample", "repaint", "edit"],
}
KINDS["decoders"] = [stage for stage in stages() if stage not in itertools.chain(*KINDS.values())]
"""Processes as in `gpu-pool.yaml`: before the sampler, the sampler, and after it."""
INGRESS = "ingress"
WORDS = {"tags": "pop, drums", "lyrics": "[verse]\nhello"}
LONG = {"sampler": 60, INGRESS: 60}
"""Steps of the runs during which a process is killed; three steps would end too soon."""
START_SECONDS, END_SECONDS = 240.0, 240.0


@dataclass
class ServeRun:
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def family(self) -> list[psutil.Process]:
        started: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return started

    def pid(self, deployment: str) -> int | None:
        """The process of a replica of a deployment; None if there is none."""
        for process in self.family():
            try:
                if f"ServeReplica:acestep-flows:{deployment}" in " ".join(process.cmdline()):
                    return int(process.pid)
            except psutil.Error:
                continue
        return None


def configured(folder: Path, root: Path, port: int) -> Path:
    """The shipped configuration, with a light pool, a home of its own and a free port."""
    light = {"cpus": 0.1, "threads": 1}
    pool = {
        "name": "light",
        "checkpoint": str(root),
        "processes": {name: {"stages": names, **light} for name, names in KINDS.items()},
        "engine": {"songs": 4, "save_every": 1},
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump(pool))
    config = yaml.safe_load((shipped() / "serve-config.yaml").read_text())
    config["http_options"]["port"] = port
    (application,) = config["applications"]
    application["args"] |= {"pool": str(folder / "pool.yaml"), "home": str(folder / "home")}
    path = folder / "serve-config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def served(small_root: Path, cache: Path, tmp_path: Path) -> Iterator[ServeRun]:
    for module in ("ray", "fastapi", "sqlalchemy"):
        pytest.importorskip(module)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    short = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets are short
    own = {"RAY_TMPDIR": short, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    patient = {"RAY_worker_niceness": "0", "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
    env = environment(cache) | own | patient | {"RAY_USAGE_STATS_ENABLED": "0"}
    command = [str(Path(sys.executable).with_name("serve")), "run", "--address", "local"]
    log = tmp_path / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, str(configured(tmp_path, small_root, port))],
            env=env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    served = ServeRun(process, f"http://127.0.0.1:{port}", log)
    try:
        yield served
    finally:
        left = served.family() if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            process.wait(180)
        finally:
            _, alive = psutil.wait_procs(left, timeout=20)
            for each in (*alive, process):
                each.kill()
            shutil.rmtree(short, ignore_errors=True)
    assert not alive


def ready(served: ServeRun) -> bool:
    assert served.process.poll() is None, served.log.read_text()
    try:
        return httpx2.get(f"{served.url}/readyz", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def test_every_run_ends_once_whatever_is_killed(served: ServeRun, tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    soundfile.write(source, np.random.default_rng(1).uniform(-0.3, 0.3, (88_200, 2)), 44_100)
    eventually(lambda: ready(served), START_SECONDS)
    seeds = itertools.count(1)
    with Client(served.url, patience=120) as client:

        def submit(graph: str, steps: int = 3) -> str:
            ways: dict[str, dict[str, Any]] = {
                "text2music": {"duration": 2},
                "repaint": {"source": source, "span": [0.5, 1.5]},
                "audio2audio": {"reference": source},
                "remix": {"source": source, "new_tags": "folk"},
            }
            return client.submit(graph, WORDS | ways[graph] | {"seed": next(seeds), "steps": steps}).id

        def working(run: str) -> bool:
            return client.status(run).state != "queued"

        first = client.wait(submit("text2music"), timeout=END_SECONDS)
        assert first.state == "succeeded"
        runs, graphs = [first.id], itertools.cycle(("text2music", "repaint", "audio2audio", "remix"))
        for kind in (*KINDS, INGRESS):
            runs += [submit(next(graphs), LONG.get(kind, 3)) for _ in range(4)]
            eventually(partial(working, runs[-1]), END_SECONDS)
            eventually(partial(served.pid, kind), END_SECONDS)
            victim = served.pid(kind)
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
        runs += [submit("text2music") for _ in range(3)]
        assert len(runs) == 20
        for run in runs:
            assert client.wait(run, timeout=END_SECONDS).state == "succeeded"
            types = [event.type for event in client.events(run) if not event.node]
            assert types[0] == "accepted"
            assert types.count("started") == 1
            assert [type for type in types if type in ("succeeded", "failed", "cancelled")] == ["succeeded"]
        assert len(list(client.runs())) == 20
