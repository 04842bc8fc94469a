"""What a server is put together from, whoever answers HTTP: a scheduler with its cache, an executor, a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.options import MEGABYTE, ApiOptions
from acestep_flows.api.service import Service, always_ready
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.retention import DAY, RetentionPolicy, oldest_active_start
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.runtime.serving.local_ray import STORE_BYTES
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.settings import Settings
from acestep_flows.stages.registry import stages
from acestep_flows.weights.choose import choose_weights

MEMORY_BYTES = STORE_BYTES // 4
"""Of results kept at hand, in the shared memory that runs under way need, too."""

GIGABYTE = 1 << 30


@dataclass(frozen=True)
class Assembly:
    """The parts of a server: `executor.run()` has to be awaited beside whatever answers for `service`."""

    scheduler: Scheduler
    executor: Executor
    service: Service


def assemble(
    home: Home,
    pool: Pool,
    runner: ServeRunner,
    settings: Settings,
    keys: Keyring,
    *,
    folders: Sequence[Path] = (),
    ready: Callable[[], str] = always_ready,
    inline_graphs: bool = False,
    origins: Sequence[str] = (),
    private_webhooks: bool = False,
) -> Assembly:
    """Put a server together over a pool that is up. The limits are the pool's; the rest is as `ApiOptions` says."""
    kept = pool.limits.keep
    store = DiskStore(home.results, round(kept.cache_gb * GIGABYTE), lambda: oldest_active_start(home.database))
    cache = Cache(runner, memory=MEMORY_BYTES, store=store)
    scheduler = Scheduler(stages(), runner, cache, Timings(home.root / "timings.json"))
    vocab = None if pool.lyric_vocab is None else Path(pool.lyric_vocab)
    bell = RunNotifier()
    executor = Executor(
        home,
        scheduler,
        slots=pool.limits.running,
        retention=RetentionPolicy(
            files=None if kept.days is None else kept.days * DAY,
            bytes=None if kept.outputs_gb is None else round(kept.outputs_gb * GIGABYTE),
        ),
        model=choose_weights(settings, pool.checkpoint, vocab).model,
        bell=bell,
        preview_seconds=pool.limits.preview_seconds,
    )
    service = Service(
        home=home,
        keys=keys,
        options=ApiOptions(
            queued=pool.limits.queued,
            upload_bytes=pool.limits.upload_mb * MEGABYTE,
            inline_graphs=inline_graphs,
            origins=tuple(origins),
            private_webhooks=private_webhooks,
        ),
        scheduler=scheduler,
        folders=folders,
        ready=lambda: ready() or ("the executor has ended" if executor.ended else ""),
        failures=executor.failures,
        accepted=executor.nudge,
        bell=bell,
        numbers=runner.stats,
        webhook_secret=settings.webhook_secret,
        hidden=[settings.cache],
    )
    return Assembly(scheduler, executor, service)
