"""The runs that an executor holds: renews their leases, writes their changes, and stops those that it lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from acestep_flows.api.execution.active_run import ActiveRun
from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.execution.store_threads import StoreThreads
from acestep_flows.api.store.leases import Leases
from acestep_flows.errors import StorageError

log = logging.getLogger(__name__)


class HeldRuns:
    """What an executor writes about its runs while they go on.

    Args:
        executor: name in leases.
        leases: the run table.
        store: threads for work on the run table.
        notifier: notified whenever something was written about a run.

    Attributes:
        active: the runs by their id. The executor adds and removes them.
        write_lock: held while changes are written. The end of a run is written after it was free.
    """

    def __init__(self, executor: str, leases: Leases, store: StoreThreads, notifier: RunNotifier) -> None:
        self.active = dict[str, ActiveRun]()
        self.write_lock = asyncio.Lock()
        self._executor, self._leases, self._store, self._notifier = executor, leases, store, notifier

    async def renew(self, slots: int) -> None:
        """Renew the leases, and stop the runs that were lost.

        Args:
            slots: number of runs that the executor computes at a time.
        """
        works = list(self.active.values())
        leases = [work.lease for work in works]
        held = await self._store.call(self._leases.renew, self._executor, slots, leases)
        self._drop_lost([work for work in works if work.lease.run not in held])

    async def cancel_and_write(self) -> None:
        """Stop the runs with a cancellation request, and write the changes of all."""
        if not self.active:
            return
        for run in await self._store.call(self._leases.cancel_requests, self._executor):
            if (work := self.active.get(run)) is not None and not work.cancelled:
                work.cancel()
        await self._write()

    async def release(self, work: ActiveRun) -> None:
        """Return a run to the queue, unless it was lost or the run table cannot be reached."""
        if not work.lost:
            with contextlib.suppress(StorageError):
                await self._store.call(self._leases.release, work.lease)

    async def release_all(self) -> None:
        """Stop the runs and wait for them. A run whose end is being written is not interrupted."""
        for work in self.active.values():
            if work.task is not None and not work.ending:
                work.task.cancel()
        if tasks := [work.task for work in self.active.values() if work.task is not None]:
            await asyncio.wait(tasks)

    async def _write(self) -> None:
        """Write the changes of all runs in one transaction."""
        async with self.write_lock:
            works = [work for work in self.active.values() if not (work.lost or work.ending)]
            batch = [(work, new) for work in works if (new := work.take_changes()) is not None]
            if not batch:
                return
            try:
                held = await self._store.call(self._leases.record, {work.lease: new for work, new in batch})
            except StorageError:
                for work, changes in batch:
                    work.restore(changes)
                raise
        self._notifier.notify(work.lease.run for work, _ in batch)
        self._drop_lost([work for work, _ in batch if work.lease not in held])

    def _drop_lost(self, works: list[ActiveRun]) -> None:
        """Stop the runs whose lease another executor holds."""
        for work in works:
            if work.task is not None and not work.task.done() and not (work.lost or work.ending):
                log.warning("run %s was claimed by another executor; it stops here", work.lease.run)
                work.lost = True
                work.task.cancel()
