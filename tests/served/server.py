"""A real server in a process of its own that tests can kill and restart."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from acestep_flows.client import Client, Run
from acestep_flows.runtime.serving.pool import shipped
from acestep_flows.settings import PRODUCTS

RUN_SECONDS = 120.0
COMMAND = "acestep-flows"


WEIGHTS = "weights"
"""Folder of a cache in which the tests put the small random checkpoint."""


def environment(cache: Path) -> dict[str, str]:
    """The environment of the commands: a cache for tests, small weights, one thread each."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACESTEP_", "RAY_"))}
    scripts = str(Path(sys.executable).parent)
    path = f"{scripts}{os.pathsep}{inherited.get('PATH', '')}"
    own = {PRODUCTS: "torch", "ACESTEP_FLOWS_CACHE": str(cache), "ACESTEP_FLOWS_CHECKPOINT": str(cache / WEIGHTS)}
    return inherited | own | {"OMP_NUM_THREADS": "1", "PATH": path}


@dataclass
class Server:
    """One home folder and the process that serves it. The port stays the same after a restart."""

    folder: Path
    cache: Path
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[str] | None = None
    said: str = ""
    seconds: float = 0.0
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder / "server"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def start(self) -> None:
        """Start the server, and return when it is ready."""
        begun = time.monotonic()
        command = [COMMAND, "serve", "--home", "server", "--port", str(self.port), *self.options]
        inherited = environment(self.cache)
        del inherited[
            "OMP_NUM_THREADS"
        ]  # Ray sets it for each process; another value changes the last digits of a song
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**inherited, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()  # the time limit of the test bounds this wait
        ready = re.match(r"ready at http://127\.0\.0\.1:(\d+)", self.said)
        assert ready, f"{self.said!r} {self.log}"
        self.port = int(ready[1])
        self.seconds = time.monotonic() - begun

    def kill(self) -> None:
        """Kill the process, as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate(timeout=10)

    def stop(self) -> int:
        """Stop the server. Returns its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def client(self, **options: Any) -> Client:
        return Client(self.url, **options)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this server."""
        env = environment(self.cache) | {"ACESTEP_FLOWS_SERVER": self.url}
        return subprocess.run(
            [COMMAND, *args],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    def song(self, client: Client, *, seconds: float = 2, steps: int = 4, seed: int = 1, **options: Any) -> Run:
        """Submit a run of text2music."""
        inputs = {"tags": f"song {seed}", "duration": seconds, "steps": steps, "seed": seed}
        return client.submit("text2music", inputs, **options)

    def replica(self) -> int:
        """The id of the process that samples."""
        with self.client() as client:
            serving = client.stats()["serving"]
        (replica,) = serving["all"]
        return int(replica["pid"])


def with_one_thread() -> str:
    """The pool `local` with one thread: with such small weights a second thread only waits."""
    content = yaml.safe_load((shipped() / "local.yaml").read_text())
    content["processes"]["all"]["threads"] = 1
    return str(yaml.safe_dump(content))


def cache_with(weights: Path, folder: Path) -> Path:
    """`folder` as the cache of a server and of the commands, with small weights in it."""
    (folder / WEIGHTS).symlink_to(weights)
    return folder


@contextmanager
def serving(folder: Path, cache: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """A server with one thread and more options, started. It is stopped in the end if a test has not killed it."""
    for module in ("ray", "fastapi", "uvicorn", "sqlalchemy"):
        pytest.importorskip(module)
    (folder / "pool.yaml").write_text(with_one_thread())
    server = Server(folder, cache, options=("--pool", "pool.yaml", *options))
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop()


def running(server: Server) -> Server:
    """The server, started again if a test has ended it."""
    assert server.process is not None
    if server.process.poll() is not None:
        server.start()
    return server
