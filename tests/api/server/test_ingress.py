"""The deployment in front, without a Ray to start it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("ray")

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.execution.store_outputs import StoredOutputs
from acestep_flows.api.server.ingress import Ingress, ingress
from acestep_flows.api.server.options import IngressOptions
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool
from tests.runtime.serving.pools import fused


def test_its_options_are_those_of_the_command(tmp_path: Path) -> None:
    given = {"origins": ["https://studio.example.org"], "database": "postgresql://somewhere/runs"}
    made = ingress(Pool.read("local"), tmp_path, {}, given)
    *_, options = made._bound_deployment.init_args
    assert made._bound_deployment._deployment_config.graceful_shutdown_timeout_s > options.drain
    assert options == IngressOptions(origins=("https://studio.example.org",), database="postgresql://somewhere/runs")


@pytest.mark.parametrize(
    ("home", "options", "said"),
    [
        (None, {}, "no home folder"),
        (Path("/data"), {"colour": "red"}, "colour: Extra inputs"),
        (Path("/data"), {"drain": -1}, "drain: Input should be greater"),
        (Path("/data"), {"origins": "everywhere"}, "origins: Input should be a valid tuple"),
    ],
)
def test_what_is_refused(home: Path | None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ingress(Pool.read("local"), home, {}, options)


@pytest.mark.parametrize("drain", [0.0, 60.0])
def test_runs_in_hand_may_go_on_for_as_long_as_it_says(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drain: float
) -> None:
    async def work(executor: Any, held: Any) -> StoredOutputs:
        """Go on for a while after the replica was asked to end."""
        while not executor._draining:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        return StoredOutputs((), ())

    monkeypatch.setattr(Executor, "_compute", work)

    async def live() -> str:
        plain: Any = Ingress.__mro__[1]
        replica = plain(fused(small_root), tmp_path, {}, IngressOptions(drain=drain))
        app = replica.__serve_build_asgi_app__()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        async with client, app.router.lifespan_context(app):
            asked = {"graph": "text2music", "inputs": {"tags": "pop"}}
            run = (await client.post("/v1/runs", json=asked)).json()["id"]
            async with asyncio.timeout(60):
                while run not in replica._executor.active_runs:
                    await asyncio.sleep(0.01)
        home = Home.open(tmp_path)
        try:
            return str(home.runs.get(run).state)
        finally:
            home.close()

    assert asyncio.run(live()) == ("succeeded" if drain else "queued")


class Dead(BaseException):
    """What nothing in the background work catches."""


def test_a_replica_whose_executor_died_is_not_well(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any) -> Any:
        raise Dead

    async def live() -> None:
        plain: Any = Ingress.__mro__[1]  # without what Serve wraps around it
        replica = plain(fused(small_root), tmp_path, {}, IngressOptions())
        app = replica.__serve_build_asgi_app__()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
        async with client, app.router.lifespan_context(app):
            await replica.check_health()
            assert (await client.get("/readyz")).status_code == 200
            monkeypatch.setattr(replica._home.leases, "claim", die)
            async with asyncio.timeout(60):
                while (told := await client.get("/readyz")).status_code == 200:
                    await asyncio.sleep(0.05)
            assert told.json()["reason"] == "the executor has ended"
            with pytest.raises(RuntimeError, match="executor"):
                await replica.check_health()

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(live())
    assert caught.group_contains(Dead)
