"""A Ray cluster of two machines on this one, as its users start it: `ray start`, each in a process of its own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import eventually

START_SECONDS, STOP_SECONDS, GENTLE_SECONDS = 120.0, 30.0, 3.0
HEAD, OTHER = "127.0.0.2", "127.0.0.3"
"""Addresses of the machines. Ray takes 127.0.0.1 for another name of the real address."""

STORE_BYTES = 120_000_000

TOKEN = "RAY_AUTH_TOKEN"
"""Variable with the secret of the cluster."""


@dataclass
class RayCluster:
    """Both of its machines, by the processes that started them, each with an address of the loopback interface."""

    address: str
    env: Mapping[str, str]
    folder: Path
    machines: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def add(self, host: str, *options: str) -> None:
        """Start one more machine at an address."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            agent = taken.getsockname()[1]
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--node-ip-address", host]
        ports = ["--min-worker-port", "0", "--max-worker-port", "0", "--dashboard-agent-listen-port", str(agent)]
        light = ["--object-store-memory", str(STORE_BYTES), "--disable-usage-stats"]
        with (self.folder / f"machine-{len(self.machines)}.log").open("wb") as log:
            self.machines.append(
                subprocess.Popen(
                    [*command, *ports, *light, *options],
                    env=dict(self.env),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def machine_of(self, pid: int) -> int:
        """The number of the machine that a process runs on."""
        above = {process.pid for process in psutil.Process(pid).parents()}
        (number,) = [number for number, machine in enumerate(self.machines) if machine.pid in above]
        return number

    def ask(self, script: str) -> str:
        """What a script prints that is connected to the cluster, as another user of it."""
        joined = f"import ray\nray.init(address={self.address!r}, log_to_driver=False, logging_level='ERROR')\n{script}"
        done = subprocess.run(
            [sys.executable, "-c", joined],
            env=dict(self.env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (done.stdout.strip().splitlines() or [""])[-1]

    def end(self) -> None:
        """End what `ray start` began, the head last. Its processes are found by the token that they were given."""
        for machine in reversed(self.machines):
            machine.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                machine.wait(GENTLE_SECONDS)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(TOKEN) == self.env[TOKEN]:
                    process.kill()
        for machine in self.machines:
            machine.wait(STOP_SECONDS)


@contextmanager
def ray_cluster(env: Mapping[str, str], folder: Path) -> Iterator[RayCluster]:
    """A cluster with a head of four cores, and a machine of two with the resource `services`; it asks for a token."""
    with ExitStack() as stack:
        with socket.create_server((HEAD, 0)) as taken:
            port = taken.getsockname()[1]
        short = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets are short
        stack.callback(shutil.rmtree, short, ignore_errors=True)
        own = {
            "RAY_AUTH_MODE": "token",
            TOKEN: secrets.token_hex(32),
            "RAY_worker_niceness": "0",
        }
        cluster = RayCluster(f"{HEAD}:{port}", {**env, **own}, folder)
        stack.callback(cluster.end)
        cluster.add(
            HEAD, "--head", "--port", str(port), "--temp-dir", short, "--num-cpus", "4", "--include-dashboard", "false"
        )
        eventually(lambda: _listens(port), START_SECONDS)
        cluster.add(OTHER, "--address", cluster.address, "--num-cpus", "2", "--resources", '{"services": 10}')
        eventually(lambda: cluster.ask("print(len([n for n in ray.nodes() if n['Alive']]))") == "2", START_SECONDS)
        yield cluster


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HEAD, port), 1).close()
    except OSError:
        return False
    return True
