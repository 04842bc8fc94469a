"""Stages in this process: loaded once on first use, shared by all runs, run by a pool of threads.

On a CPU the pool has one thread. Every thread that computes has helper threads of its own, one per core. When there are
more of them than cores, each short operation waits for its helpers to be scheduled, and small networks take twice the
time.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from acestep_flows.errors import Cancelled, FlowsError, StageError
from acestep_flows.graph.content import Outputs, outputs_of, with_handles, with_values
from acestep_flows.graph.execution.runner import CallProgress, Reply, Store
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.model.allocator import return_freed_memory
from acestep_flows.model.placement import Placement
from acestep_flows.model.threads import limit_threads
from acestep_flows.stages.contract import Stage, StageParams, Watch
from acestep_flows.values import Latents

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

T = TypeVar("T")

_LOADING = threading.Lock()
"""One stage at a time loads: transformers and diffusers import lazily, which two threads at once break."""

WORKERS = 2
"""Calls at once on a GPU, so that one prepares while another keeps it busy; more would mostly take memory."""


class LocalRunner:
    """Runs stages in threads of this process; the token of a handle is the value itself.

    Args:
        checkpoint: where stages load their weights from.
        placement: device and precision of their networks.
        workers: how many calls may work at once; None: one on a CPU, two elsewhere.
        threads: of one operation of torch, and of numpy, which has one number for the whole process; None: as they
            have it.
        keep_freed: whether memory that a network has freed stays with the process, for its next song. Otherwise the
            system gets it after each call, as another network will work next.

    Attributes:
        work: the threads that calls run in. Other computations on the same CPU belong in here, too.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        placement: Placement | None = None,
        *,
        workers: int | None = None,
        threads: int | None = None,
        keep_freed: bool = True,
    ) -> None:
        self.checkpoint = checkpoint
        self.placement = placement if placement is not None else Placement()
        self._loaded: dict[type[Stage], Stage] = {}
        if workers is None:
            workers = 1 if self.placement.device == "cpu" else WORKERS
        self._threads, self._keep_freed = threads, keep_freed
        if threads is not None:
            threadpool_limits(threads, user_api="blas")  # numpy's products: how they are split shows in last digits
        self.work = ThreadPoolExecutor(workers, thread_name_prefix="stage", initializer=_limit, initargs=(threads,))
        # Reading and digesting does not wait behind a song.
        self._files = ThreadPoolExecutor(2, thread_name_prefix="files")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads, after the calls that still run."""
        self.work.shutdown()
        self._files.shutdown()

    @property
    def durable(self) -> bool:
        """No: a run in this process can be started again when the process dies."""
        return False

    def numerics(self, stage: type[Stage]) -> str:
        """The placement's policy, the same for every stage."""
        return self.placement.numerics

    def peak_memory(self) -> int | None:
        """Peak resident bytes of this process so far; None on Windows."""
        if sys.platform == "win32":
            return None
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # Bytes there, kilobytes elsewhere.

    def weights(self, stage: type[Stage], params: StageParams) -> Awaitable[tuple[str, ...]]:
        """The digests that the stage names; reading weights files for the first time may take seconds."""
        return self._in_files(stage.weights, self.checkpoint, params)

    def hold(self, content: Any) -> Awaitable[Any]:
        """Values become handles; their digests are computed off the event loop."""
        return self._in_files(with_handles, content)

    async def fetch(self, content: Any) -> Any:
        """Handles become the values they stand for."""
        return with_values(content)

    async def apply(self, work: Callable[..., Sequence[T]], items: Sequence[Any], *more: Any) -> list[T]:
        """Call `work` in a thread for files, once for all items."""
        return list(await self._in_files(work, with_values(items), *more))

    def save(self, store: Store, key: str, outputs: Outputs, stage: str) -> Awaitable[None]:
        """Write outputs in a thread for files."""
        return self._in_files(store.write, key, with_values(outputs), stage)

    def load(self, store: Store, key: str) -> Awaitable[Outputs | None]:
        """Read outputs in a thread for files; the digests that reading checked are the handles'."""
        return self._in_files(_read, store, key)

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        """Run the stage in a thread; when cancelled, wait for it to stop at its next step boundary."""
        watch = _LoopWatch(progress, call.preview_every)
        job = self.work.submit(self._run, [call], watch)
        future = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            watch.stop()
            if not job.cancel():
                await asyncio.wait([future])
                if not future.cancelled():
                    future.exception()  # looked at: the error of a stopped stage no longer matters
            raise

    def load_all(self, wanted: Iterable[type[Stage]]) -> None:
        """Load the weights of stages; blocks."""

        def load() -> None:
            for stage in wanted:
                self.loaded(stage)

        self.work.submit(load).result()

    def loaded(self, stage: type[Stage]) -> Stage:
        """The one instance of a stage, loaded. Blocks while its weights load; a failed load is tried again."""
        with _LOADING:
            if stage not in self._loaded:
                instance = stage()
                with garbage_collection_paused():  # torch, transformers and diffusers are imported here
                    if stage.parts:
                        import torch  # noqa: F401 - so that the stage is loaded with the threads that it will have

                        _limit(self._threads)
                    instance.load(self.checkpoint, self.placement)
                _limit(self._threads)  # it may be only now that torch is there
                self._loaded[stage] = instance
            return self._loaded[stage]

    def together(self, calls: Sequence[StageCall], watch: Watch) -> list[Reply | FlowsError]:
        """Run calls of one stage as one batch, in the calling thread; each reply has its share of the seconds.

        This is the stage boundary: every exception of a stage leaves here as a FlowsError.

        Raises:
            FlowsError: all of them failed.
        """
        try:
            stage = self.loaded(calls[0].stage)
            items = [call.item for call in calls]
            begun = time.perf_counter()
            outs = stage.run(items, [call.params for call in calls], watch)
            seconds = (time.perf_counter() - begun) / len(calls)
            return [
                out if isinstance(out, FlowsError) else Reply(outputs_of(out), seconds)
                for _, out in zip(items, outs, strict=True)
            ]
        except FlowsError:
            raise
        except Exception as error:
            raise StageError("", calls[0].stage.name, error) from error

    def _run(self, calls: list[StageCall], watch: _LoopWatch) -> Reply:
        """Run the one call in `calls`, and empty the list: the pool's thread holds it until after the reply is out."""
        watch.started()
        has_network = bool(calls[0].stage.parts)
        try:
            (reply,) = self.together([calls.pop()], watch)
        finally:
            if has_network and not self._keep_freed:
                return_freed_memory()
        if isinstance(reply, FlowsError):
            raise reply
        return reply

    def _in_files(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._files, work, *args)


class _LoopWatch(Watch):
    """Carries the progress of a stage from its thread to the event loop, and the request to stop back."""

    def __init__(self, progress: CallProgress, preview_every: int) -> None:
        self.preview_every = preview_every
        self._loop = asyncio.get_running_loop()
        self._progress = progress
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def started(self) -> None:
        if self._stopped:
            raise Cancelled("stopped before it started")
        self._loop.call_soon_threadsafe(self._progress.started)

    def step(self, item: int, done: int, total: int) -> None:
        if self._stopped:
            raise Cancelled(f"stopped after step {done} of {total}")
        self._loop.call_soon_threadsafe(self._progress.step, done, total)

    def preview(self, item: int, done: int, total: int, latents: Latents) -> None:
        self._loop.call_soon_threadsafe(self._progress.preview, done, total, latents)


def _limit(threads: int | None) -> None:
    """Set the number of threads of torch operations in this thread. Pool threads hold no runner, so it can be freed."""
    if threads is not None and (torch := sys.modules.get("torch")) is not None:
        limit_threads(torch, threads)


def _read(store: Store, key: str) -> Outputs | None:
    values = store.read(key)
    return None if values is None else with_handles(values)
