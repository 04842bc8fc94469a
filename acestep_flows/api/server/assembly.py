"""Assembles a server from its parts: a scheduler with its cache, an executor, and a service for HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.options import MEGABYTE, ApiOptions
from acestep_flows.api.server.model_reader import ModelReader
from acestep_flows.api.server.options import IngressOptions, ServerOptions
from acestep_flows.api.service import Service, always_ready
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.retention import DAY, RetentionPolicy, oldest_active_start
from acestep_flows.compat.spoken import read_spoken
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.runtime.serving.local_ray import STORE_BYTES
from acestep_flows.runtime.serving.pool import KeepSection, Pool
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.settings import Settings
from acestep_flows.stages.registry import stages
from acestep_flows.weights.choose import choose_weights

MEMORY_BYTES = STORE_BYTES // 4
"""Bytes of results cached in shared memory. Running calls need the rest of it."""

SAVE_SECONDS = 5.0
"""Seconds between two writes of the times of stages. A killed server loses what it measured since."""

GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Assembly:
    """The parts of a server. The caller awaits `executor.run()` while it serves the app of `service`."""

    scheduler: Scheduler
    executor: Executor
    service: Service


def assemble(
    home: Home,
    pool: Pool,
    runner: ServeRunner,
    settings: Settings,
    keys: Keyring,
    options: ServerOptions | IngressOptions,
    ready: Callable[[], str] = always_ready,
) -> Assembly:
    """Assemble a server over a running pool. Limits come from the pool file, permissions from `options`.

    Args:
        ready: why the server takes no runs; empty when it does.
    """
    keep = pool.limits.keep
    store = DiskStore(home.results, round(keep.cache_gb * GIGABYTE), lambda: oldest_active_start(home.database))
    cache = Cache(runner, memory=MEMORY_BYTES, store=store)
    scheduler = Scheduler(stages(), runner, cache, Timings(home.root / "timings.json", every=SAVE_SECONDS))
    vocab = None if pool.lyric_vocab is None else Path(pool.lyric_vocab)
    notifier = RunNotifier()
    executor = Executor(
        home,
        scheduler,
        slots=pool.limits.running,
        retention=_retention(keep),
        model=choose_weights(settings, pool.checkpoint, vocab).model,
        notifier=notifier,
        preview_seconds=pool.limits.preview_seconds,
        silent=keys.are_several,
    )
    service = Service(
        home=home,
        keys=keys,
        options=_api_options(pool, options),
        scheduler=scheduler,
        folders=options.folders,
        ready=lambda: ready() or _why_it_takes_no_runs(executor, home),
        failures=executor.failures,
        on_accepted=executor.wake,
        notifier=notifier,
        process_stats=runner.stats,
        webhook_secret=settings.webhook_secret,
        hidden=[settings.cache],
        model_card=ModelReader(pool, settings).card,
        server=executor.name,
    )
    home.audit.note_keys({key.name: key.public for key in keys.keys})
    return Assembly(scheduler, executor, service)


def _why_it_takes_no_runs(executor: Executor, home: Home) -> str:
    if executor.ended:
        return "the executor has ended"
    drain = home.switches.known(executor.name)
    return f"the server drains{drain.because}" if drain is not None else ""


def _retention(keep: KeepSection) -> RetentionPolicy:
    return RetentionPolicy(
        files=None if keep.days is None else keep.days * DAY,
        bytes=None if keep.outputs_gb is None else round(keep.outputs_gb * GIGABYTE),
    )


def _api_options(pool: Pool, options: ServerOptions | IngressOptions) -> ApiOptions:
    return ApiOptions(
        queued=pool.limits.queued,
        upload_bytes=pool.limits.upload_mb * MEGABYTE,
        render_seconds=pool.limits.wait_seconds,
        inline_graphs=options.inline_graphs,
        origins=options.origins,
        private_webhooks=options.private_webhooks,
        private_fetches=options.private_fetches,
        direct_links=options.direct_links,
        speak=tuple(one.name for one in read_spoken(options.speak)),
        public_url=options.public_url,
        studio=options.studio,
    )
