"""HTTP and an executor as a Serve deployment, in front of the pool's processes: for a Ray that runs already.

    args: {pool: gpu-pool, home: /data/home, ingress: "acestep_flows.api.server.ingress:ingress",
           options: {origins: ["https://studio.example.org"], database: "postgresql+psycopg://..."}}

The run table is the record, so replicas of it may come and go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve

from acestep_flows.api.http.app import create_app
from acestep_flows.api.http.keys import read_keys
from acestep_flows.api.server.assembly import assemble
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.local_ray import FRONT_CPUS
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.settings import read_settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

LEASE_SECONDS = 10.0
STOP_SECONDS = 5.0
"""What a replica may take to stop, beside the runs it lets end."""
ONGOING = 1000
"""Requests at once, those that follow events included."""


class IngressOptions(BaseModel):
    """What `args.options` may say; as the options of `acestep-flows serve`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: tuple[Path, ...] = Field((), description="Folders with graphs of the operator's own.")
    inline_graphs: bool = Field(False, description="Whether callers may run graphs of their own.")
    origins: tuple[str, ...] = Field((), description="Web origins that browsers may call from; '*' for all.")
    database: str | None = Field(None, description="URL of the run table; absent: SQLite in the home folder.")
    artifacts: str | None = Field(None, description="URL of the artifact store; absent: a folder in the home folder.")
    private_webhooks: bool = Field(False, description="Whether webhooks may go to private addresses.")
    drain: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Seconds that the runs of a replica may go on when it is asked to end; the rest go back to the "
        "queue. Serve waits for open requests first: event streams that nobody closes use the time up.",
    )


def ingress(pool: Pool, home: Path | None, hosts: Mapping[str, Application], options: Mapping[str, Any]) -> Application:
    """The deployment in front of `hosts`, by name of process.

    Raises:
        InputError: there is no home folder: accepted runs have to outlive processes; an option is not usable.
    """
    if home is None:
        raise InputError("no home folder", where="args.home", allowed="a folder that outlives processes")
    try:
        chosen = IngressOptions.model_validate(options)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise InputError("; ".join(problems), where="args.options") from None
    deployment: serve.Deployment = serve.deployment(
        name="ingress",
        ray_actor_options={"num_cpus": FRONT_CPUS},
        max_ongoing_requests=ONGOING,
        graceful_shutdown_timeout_s=chosen.drain + STOP_SECONDS,
        graceful_shutdown_wait_loop_s=0.2,
    )(Ingress)
    application: Application = deployment.bind(pool, home, dict(hosts), chosen)
    return application


@serve.ingress()
class Ingress:
    """One replica. Without API keys it answers those only who reach it as localhost."""

    def __init__(self, pool: Pool, home: Path, hosts: Mapping[str, Any], options: IngressOptions) -> None:
        settings = read_settings()
        self._home = Home.open(home, database=options.database, artifacts=options.artifacts, lease=LEASE_SECONDS)
        made = assemble(
            self._home,
            pool,
            ServeRunner(pool, hosts),
            settings,
            read_keys(settings),
            folders=options.folders,
            inline_graphs=options.inline_graphs,
            origins=options.origins,
            private_webhooks=options.private_webhooks,
        )
        self._executor, self._service, self._drain = made.executor, made.service, options.drain

    async def check_health(self) -> None:
        """Raises when the replica has to be replaced: it would accept runs that nobody here works on."""
        if self._executor.ended:
            raise RuntimeError("the executor has ended")

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The HTTP interface; the executor works for as long as it lives."""
        app = create_app(self._service)
        inner = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with inner(app) as state:
                working = asyncio.create_task(self._executor.run())
                try:
                    yield state
                finally:
                    try:
                        await self._executor.drain(self._drain)
                        await working
                    finally:
                        self._home.close()

        app.router.lifespan_context = lifespan
        return app
