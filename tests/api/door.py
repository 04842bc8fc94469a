"""A whole server in this process: the application behind a real socket, an executor over the small checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import soundfile
import uvicorn

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.http.app import create_app
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.service import Service
from acestep_flows.api.store.home import Home
from acestep_flows.compat.mount import mount
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from tests.api.store.with_tables import home_with_tables

if TYPE_CHECKING:
    from fastapi import FastAPI

    from acestep_flows.model.checkpoint import Checkpoint

PATIENCE = 60.0
SHORT: Mapping[str, Any] = {"tags": "piano", "duration": 1, "steps": 2, "seed": 3}
LONG: Mapping[str, Any] = {"tags": "piano", "duration": 60, "steps": 200, "solver": "heun"}
"""A run that is long enough to be cancelled while it is running."""


@dataclass(frozen=True)
class Door:
    """A running server, and a client of it."""

    service: Service
    app: FastAPI
    url: str
    client: httpx2.Client

    @property
    def home(self) -> Home:
        return self.service.home

    def submit(
        self, graph: str | Mapping[str, Any] = "text2music", inputs: Mapping[str, Any] = SHORT, **more: Any
    ) -> dict[str, Any]:
        """Submit a run, which must be accepted."""
        response = self.client.post(
            "/v1/runs", json={"graph": graph if isinstance(graph, str) else dict(graph), "inputs": dict(inputs)} | more
        )
        assert response.status_code == 202, response.text
        run: dict[str, Any] = response.json()
        return run

    def until(self, id: str, *states: str) -> dict[str, Any]:
        """Wait until a run is in one of `states`, by default until it has ended."""
        wanted = states or ("succeeded", "failed", "cancelled")
        end = time.monotonic() + PATIENCE
        while True:
            run: dict[str, Any] = self.client.get(f"/v1/runs/{id}").json()
            if run["state"] in wanted:
                return run
            assert time.monotonic() < end, run
            assert run["state"] in ("queued", "running"), run
            time.sleep(0.05)

    def finished(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Submit a run and wait until it has succeeded."""
        run = self.until(self.submit(*args, **kwargs)["id"])
        assert run["state"] == "succeeded", run
        return run

    def cancel_all(self) -> None:
        """Cancel the runs that wait or run: songs of any length, which nobody will hear."""
        for state in ("queued", "running"):
            for run in self.client.get("/v1/runs", params={"state": state, "limit": 200}).json()["runs"]:
                self.client.delete(run["links"]["self"])

    def upload(self, content: bytes, file_name: str = "") -> httpx2.Response:
        """Upload a file."""
        return self.client.post("/v1/assets", params={"file_name": file_name}, content=content)


def sound(seconds: float = 1.0, rate: int = 44_100, channels: int = 2, format: str = "WAV") -> bytes:
    """An audio file with a tone."""
    time_axis = np.arange(round(seconds * rate)) / rate
    samples = np.repeat(0.3 * np.sin(2 * np.pi * 220 * time_axis)[:, None], channels, axis=1)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format)
    return file.getvalue()


@contextlib.contextmanager
def opened(
    root: Path,
    checkpoint: Checkpoint,
    *,
    options: ApiOptions | None = None,
    keys: Keyring | None = None,
    executing: bool = True,
    workers: int | None = None,
    headers: Mapping[str, str] | None = None,
    folders: Sequence[Path] = (),
    **more: Any,
) -> Iterator[Door]:
    """A server with its home in `root`, and, when `executing`, an executor in the same event loop.

    `workers` of 2 decode beside a song on its way, as a pool with a step engine does.
    """
    home = Home.open(home_with_tables(root))
    with LocalRunner(checkpoint, workers=workers) as runner:
        cache = Cache(runner, store=DiskStore(home.results))
        scheduler = Scheduler(stages(), runner, cache, Timings(home.results / "timings.json"))
        service = Service(
            home,
            keys or Keyring(),
            options or ApiOptions(),
            scheduler,
            folders=folders,
            hidden=[checkpoint.root],
            **more,
        )
        app = create_app(service)
        mount(app)
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=_serve, args=(server, service, executing), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx2.Client(base_url=url, headers=headers, timeout=PATIENCE) as client:
                yield Door(service, app, url, client)
        finally:
            server.should_exit = True
            thread.join(30)
            home.close()
    assert not thread.is_alive()


def _serve(server: uvicorn.Server, service: Service, executing: bool) -> None:
    home, scheduler = service.home, service.scheduler
    assert scheduler is not None

    async def main() -> None:
        if not executing:
            await server.serve()
            return
        executor = Executor(
            home,
            scheduler,
            slots=2,
            poll=0.02,
            tracer=service.tracer,
            notifier=service.notifier,
            silent=service.keys.are_several,
        )
        work = asyncio.create_task(executor.run())
        await server.serve()
        await executor.drain()
        await work

    asyncio.run(main())
