"""The ingress deployment, without Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
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
    options_given = {"origins": ["https://studio.example.org"], "database": "postgresql://somewhere/runs"}
    application = ingress(Pool.read("local"), tmp_path, {}, options_given)
    *_, options = application._bound_deployment.init_args
    assert application._bound_deployment._deployment_config.graceful_shutdown_timeout_s > options.drain
    assert options == IngressOptions(origins=("https://studio.example.org",), database="postgresql://somewhere/runs")


def test_several_replicas_need_a_database_for_several_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACESTEP_FLOWS_DATABASE", raising=False)
    several = {"replicas": 3, "resources": {"services": 1}}
    with pytest.raises(InputError, match=r"args.options.replicas: 3 replicas cannot share a SQLite file.*PostgreSQL"):
        ingress(Pool.read("local"), tmp_path, {}, several)
    database = {"database": "postgresql+psycopg://somewhere/runs"}
    monkeypatch.setenv("ACESTEP_FLOWS_DATABASE", database["database"])
    for options in (several, several | database):
        deployment = ingress(Pool.read("local"), tmp_path, {}, options)._bound_deployment
        assert deployment.num_replicas == 3
        assert (deployment.ray_actor_options or {})["resources"] == {"services": 1}


@pytest.mark.parametrize(
    ("home", "options", "message"),
    [
        (None, {}, "no home folder"),
        (Path("/data"), {"colour": "red"}, "colour: no such field .allowed: .*drain"),
        (Path("/data"), {"drain": -1}, "drain: -1 .allowed: at least 0"),
        (Path("/data"), {"origins": "everywhere"}, "origins: text .everywhere. .allowed: a list"),
    ],
)
def test_unusable_options_are_refused(home: Path | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ingress(Pool.read("local"), home, {}, options)


@pytest.mark.parametrize("drain", [0.0, 60.0])
def test_running_runs_may_continue_during_the_drain(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drain: float
) -> None:
    async def compute(executor: Any, run: Any) -> StoredOutputs:
        """Continue for a while after the replica was asked to stop."""
        while not executor._draining:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        return StoredOutputs((), ())

    monkeypatch.setattr(Executor, "_compute", compute)

    async def live() -> str:
        plain: Any = Ingress.__mro__[1]
        replica = plain(fused(small_root), tmp_path, {}, IngressOptions(drain=drain))
        app = replica.__serve_build_asgi_app__()
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost")
        async with client, app.router.lifespan_context(app):
            request = {"graph": "text2music", "inputs": {"tags": "pop"}}
            run = (await client.post("/v1/runs", json=request)).json()["id"]
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
    """An exception that the background work does not catch."""


def test_a_replica_whose_executor_died_is_unhealthy(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any) -> Any:
        raise Dead

    async def live() -> None:
        plain: Any = Ingress.__mro__[1]  # the class without Serve's wrapper
        replica = plain(fused(small_root), tmp_path, {}, IngressOptions())
        app = replica.__serve_build_asgi_app__()
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost")
        async with client, app.router.lifespan_context(app):
            await replica.check_health()
            assert (await client.get("/readyz")).status_code == 200
            monkeypatch.setattr(replica._home.leases, "claim_several", die)
            async with asyncio.timeout(60):
                while (response := await client.get("/readyz")).status_code == 200:
                    await asyncio.sleep(0.05)
            assert response.json()["reason"] == "the executor has ended"
            with pytest.raises(RuntimeError, match="executor"):
                await replica.check_health()

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(live())
    assert caught.group_contains(Dead)
