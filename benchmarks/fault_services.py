"""The songs of the table of faults, and what faults are done to: a small disk, a PostgreSQL, an object store."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
LOOKS = 5
BUCKET = "songs"
MOTO = str(Path(sys.executable).with_name("moto_server"))
"""moto's server, as the packages for tests bring it."""

USER = "postgres"
"""Who runs PostgreSQL where this process is root, which PostgreSQL refuses."""

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


SONG: dict[str, Any] = {"tags": "funk, pop", "lyrics": "[verse]\nNeon lights\n", "duration": 2.0, "steps": 4}
"""What every song is made of, beside its seed."""


@dataclass(frozen=True)
class Bench:
    """What all cells share.

    Attributes:
        weights: folder of the checkpoint.
        runs: songs of a cell, beside those that are submitted while the fault lasts.
        digests: of songs made one by one in this process, for seeds from the first to before the second.
        moto: path of `moto_server`.
        stack: what lasts as long as the table takes.
        kept: what several cells use one after the other, in the stack.
    """

    weights: Path
    runs: int
    digests: Callable[[int, int], Sequence[str]]
    moto: str
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    kept: dict[str, Any] = field(default_factory=dict)


class Missing(Exception):
    """What a cell of the table needs is not on this machine."""


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system in memory of this size. Mounting one takes root."""
    folder = Path(tempfile.mkdtemp(prefix="faults-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            raise Missing("a tmpfs cannot be mounted; that takes root")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """The file system of a folder has no byte left while the context lasts."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    try:
        yield
    finally:
        ballast.unlink()


class Postgres:
    """A PostgreSQL of its own that can be stopped as by a crash, and started again.

    Args:
        folder: where its files are.
        flush: whether a commit is flushed to the disk, as it is where data matter.
    """

    def __init__(self, folder: Path, flush: bool = False) -> None:
        programs = shutil.which("pg_ctl") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), None)
        if programs is None:
            raise Missing("PostgreSQL is not installed")
        self._programs, self._folder, self._port = Path(programs).parent, folder / "postgres", free_port()
        self._fsync = "on" if flush else "off"
        self._user = USER if os.geteuid() == 0 else None
        self._folder.mkdir()
        if self._user is not None:
            shutil.chown(self._folder, self._user)
            folder.chmod(0o711)  # so that this user can reach its folder
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", USER)
        self.start()

    @property
    def url(self) -> str:
        return self._url("postgres")

    def new_database(self, name: str) -> str:
        """Make an empty database. Returns its URL."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(f"postgresql://{USER}@{HOST}:{self._port}/postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@{HOST}:{self._port}/{name}"

    def start(self) -> None:
        options = (
            f"-c listen_addresses={HOST} -c port={self._port} -c unix_socket_directories='' -c fsync={self._fsync}"
        )
        data, log = str(self._folder / "data"), str(self._folder / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def destroy(self) -> None:
        """Stop it and remove its folder."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._folder.parent, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, user=self._user, cwd="/", check=True, stdout=subprocess.DEVNULL)


class ObjectStore:
    """An S3-compatible store (moto, in memory) behind a proxy that can make it slow or failing.

    Args:
        program: path of `moto_server`.

    Attributes:
        state: what is wrong with it.
        carried: bytes that came to it, by the process that sent them.
        meets: called with the process that sent it and each part of a request. Gives an answer in place of the
            store's, or nothing.
    """

    def __init__(self, program: str) -> None:
        if shutil.which(program) is None:
            raise Missing("moto's server is not installed")
        self._port = free_port()
        command = [program, "-H", HOST, "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.state: Literal["", "slow", "failing"] = ""
        self.carried: Counter[int] = Counter()
        self.meets: Callable[[int, bytes], bytes] = lambda pid, chunk: b""
        self._listening = socket.create_server((HOST, 0))
        threading.Thread(target=self._accept, daemon=True).start()
        self._make_bucket()

    def url(self, folder: str) -> str:
        endpoint = f"{HOST}%3A{self._listening.getsockname()[1]}"
        return f"s3://{BUCKET}/{folder}?region=us-east-1&scheme=http&endpoint_override={endpoint}"

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": "faults", "AWS_SECRET_ACCESS_KEY": "faults", "AWS_EC2_METADATA_DISABLED": "true"}

    def close(self) -> None:
        self._listening.close()
        self._process.terminate()
        self._process.wait()

    def _make_bucket(self) -> None:
        request = urllib.request.Request(f"http://{HOST}:{self._port}/{BUCKET}", method="PUT")
        for _ in range(120):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(request).close()
                return
            time.sleep(0.5)
        raise Missing("the object store does not answer")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection((HOST, self._port)) as store:
            threading.Thread(target=_copy, args=(store, client), daemon=True).start()
            pid = _process_at(client.getpeername()[1])
            while chunk := client.recv(CHUNK_BYTES):
                self.carried[pid] += len(chunk)
                if answer := self.meets(pid, chunk):
                    client.sendall(answer)
                    return
                if self.state == "failing":
                    client.sendall(UNAVAILABLE)
                    return
                if self.state == "slow":
                    time.sleep(1.0)
                store.sendall(chunk)


def _process_at(port: int) -> int:
    """The process on this machine that has connected from a port; 0 if it has gone."""
    for _ in range(LOOKS):  # a look may miss what begins meanwhile
        for each in psutil.net_connections(kind="tcp4"):
            if each.pid and each.laddr and each.laddr.port == port and each.raddr:
                return each.pid
    return 0


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
