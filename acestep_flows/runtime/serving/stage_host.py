"""A host: one process that serves one or several stages. It does not know Ray; `deployment` makes it a deployment."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import FlowsError, StageError
from acestep_flows.graph.content import Handle, leaves
from acestep_flows.graph.execution.runner import Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.model.kept_choice import keep_choices_in
from acestep_flows.runtime.serving import messages
from acestep_flows.runtime.serving.batches import StageBatches
from acestep_flows.runtime.serving.loading import LoadingNotes
from acestep_flows.runtime.serving.pool import Pool, Process
from acestep_flows.settings import read_settings
from acestep_flows.stages.contract import StageParams
from acestep_flows.stages.diffusion import DiffusionStage
from acestep_flows.stages.registry import stage_class
from acestep_flows.tracing.call_span import CallSpan
from acestep_flows.tracing.provider import start_provider
from acestep_flows.values import Latents

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.2
"""Least time between two messages of a call. Each costs milliseconds of processor time on both sides, and executors
write progress no more often."""

SEND_SECONDS = 0.2
"""How long a message may take until it has left the process."""


class StageHost:
    """Loads its stages when it is made, then answers calls of them.

    Args:
        pool: the whole pool.
        name: the process of the pool that this is.
        home: the server's folder, where states of unfinished songs are saved; None: they are not.
        loading: file for what it is loading (see `LoadingNotes`); None: it does not say.
    """

    def __init__(self, pool: Pool, name: str, home: Path | None = None, loading: Path | None = None) -> None:
        from acestep_flows.model.allocator import keep_freed_memory
        from acestep_flows.runtime.local import LocalRunner
        from acestep_flows.settings import read_settings

        keep_freed_memory()
        settings = read_settings()
        start_provider(settings)
        keep_choices_in(settings.cache)
        process = pool.processes[name]
        self.name = name
        self.stages = {stage: stage_class(stage) for stage in process.stages}
        placement = process.placement.with_products(settings.products)
        self.runner = LocalRunner(
            open_checkpoint(pool), placement, workers=process.workers, threads=process.torch_threads
        )
        self._load(LoadingNotes(loading) if loading is not None else None)
        self._songs = self._make_songs(pool, process, home)
        self._batches = StageBatches(self.runner, self.stages.values(), process.shared)
        self._id = secrets.token_hex(8)
        self._under_way = self._calls = 0
        self._edges = {stage: Edge() for stage in self.stages}

    def _load(self, notes: LoadingNotes | None) -> None:
        weighty = [stage for stage in self.stages.values() if stage.parts]
        for number, stage in enumerate(weighty, 1):
            if notes is not None:
                notes.add(f"process {self.name}: loading {stage.name}, {number} of {len(weighty)}")
            self.runner.load_all([stage])
        self.runner.load_all(self.stages.values())

    def _make_songs(self, pool: Pool, process: Process, home: Path | None) -> DiffusionCalls | None:
        if not any(issubclass(stage, DiffusionStage) for stage in self.stages.values()):
            return None
        from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls
        from acestep_flows.runtime.serving.saved_states import FOLDER, SavedStates

        states = None if home is None else SavedStates(home / FOLDER)
        lanes, share_below = pool.lanes(process), pool.share_below(process)
        return DiffusionCalls(self.runner, pool.engine, states, lanes=lanes, share_below=share_below)

    async def run(
        self,
        stage: str,
        params: StageParams,
        inputs: Any,
        digests: tuple[str, ...],
        *values: Any,
        preview_every: int = 0,
        run: str = "",
        alone_until: int = 0,
        traceparent: str = "",
    ) -> AsyncIterator[Any]:
        """Make one call and yield the answer, as `messages` says. Cancelling it stops the stage at its next step.

        Args:
            inputs, digests, values: the call's inputs, as `messages.join` takes them.
            preview_every, run: as in `StageCall`.
            alone_until: the step at which a diffusion call stops with its state saved; 0: it goes to its end.
            traceparent: the trace context of the node; empty for none.
        """
        call = StageCall(self.stages[stage], messages.join(inputs, digests, values), params, preview_every, run)
        span = CallSpan(f"stage {stage}", traceparent, {"process": self.name, "replica": self._id})
        edge = self._edges[stage]
        edge.calls += 1
        edge.bytes_in += _bytes(inputs)
        if alone_until:
            # The caller has to know that the call is here before the process may die of it.
            yield messages.Started()
            await asyncio.sleep(SEND_SECONDS)
        mailbox = Mailbox()
        work = asyncio.ensure_future(self._answer(call, mailbox, alone_until))
        work.add_done_callback(mailbox.close)
        self._under_way += 1
        self._calls += 1
        try:
            async for message in mailbox:
                yield message
            error = work.exception()
            if error is not None:
                span.failed(getattr(error, "code", "internal"))
                yield messages.Failed(_failure(error, stage))
                return
            reply, key = work.result()
            if reply is None:
                yield messages.Cleared()
                return
            outputs, values_by_digest = messages.part(dict(reply.outputs))
            edge.seconds += reply.seconds
            edge.bytes_out += _bytes(outputs)
            yield messages.Done(outputs, tuple(values_by_digest), reply.seconds)
            for value in values_by_digest.values():
                yield value
            yield messages.Complete()
            if key is not None and self._songs is not None:
                await self._songs.end(key)
        finally:
            span.end()
            self._under_way -= 1
            if not work.done():
                work.cancel()
                await asyncio.wait([work])

    async def apply(
        self, work: Callable[..., Any], more: tuple[Any, ...], items: Any, digests: tuple[str, ...], *values: Any
    ) -> messages.Applied | messages.Failed:
        """Call `work(items, *more)` in a thread, as `Runner.apply` says.

        Args:
            items, digests, values: the items, as `messages.join` takes them.
        """
        self._under_way += 1
        try:
            return messages.Applied(await self.runner.apply(work, messages.join(items, digests, values), *more))
        except Exception as error:  # noqa: BLE001 - the caller raises it
            return messages.Failed(_failure(error, work.__name__))
        finally:
            self._under_way -= 1

    async def _answer(self, call: StageCall, mailbox: Mailbox, alone_until: int) -> tuple[Reply | None, str | None]:
        if self._songs is not None and issubclass(call.stage, DiffusionStage):
            return await self._songs.call(call, mailbox, alone_until)
        if self._batches.takes(call.stage):
            return await self._batches.call(call, mailbox), None
        reply = await self.runner.call(call, mailbox)
        if (passes := self._batches.passes.get(call.stage.name)) is not None:
            passes.forward_pass(1)
        return reply, None

    async def stats(self) -> dict[str, Any]:
        """Identity and load of this replica, as JSON."""
        engine = None if self._songs is None else dataclasses.asdict(self._songs.engine.stats())
        recorded = None if self._songs is None else self._songs.engine.recorded
        edges = {stage: dataclasses.asdict(edge) for stage, edge in self._edges.items() if edge.calls}
        passes = {stage: dataclasses.asdict(count) for stage, count in self._batches.passes.items() if count.passes}
        return {
            "process": self.name,
            "replica": self._id,
            "pid": os.getpid(),
            "stages": list(self.stages),
            "under_way": self._under_way,
            "calls": self._calls,
            "edges": edges,
            "passes": passes,
            "peak_memory": self.runner.peak_memory(),
            "engine": engine,
            "recordings": None if recorded is None else dataclasses.asdict(recorded.stats),
        }

    async def pid(self) -> int:
        """Its process id: a sign of life."""
        return os.getpid()

    async def check_health(self) -> None:
        """Raises when the process has to be replaced."""
        if self._songs is not None and not self._songs.engine.healthy:
            raise RuntimeError("the step engine has stopped")


@dataclass
class Edge:
    """Calls, seconds and bytes of one stage since the process began. Only calls that succeeded count as seconds."""

    calls: int = 0
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


class Mailbox:
    """Gathers the progress of one call into messages. Iterate over it until the call is over."""

    def __init__(self) -> None:
        self._pending: list[messages.Message] = []
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    def started(self) -> None:
        self._pending.append(messages.Started())
        self._changed.set()

    def step(self, done: int, total: int) -> None:
        last = self._pending[-1] if self._pending else None
        if isinstance(last, messages.Steps):
            self._pending[-1] = messages.Steps((*last.done, (done, total)))
        else:
            self._pending.append(messages.Steps(((done, total),)))
        self._changed.set()

    def preview(self, done: int, total: int, latents: Latents) -> None:
        self._pending = [message for message in self._pending if not isinstance(message, messages.PreviewMessage)]
        self._pending.append(messages.PreviewMessage(done, total, latents))
        self._changed.set()

    def close(self, _: object = None) -> None:
        """The call is over."""
        self._over.set()
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[messages.Message]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            pending, self._pending = self._pending, []
            for message in pending:
                yield message
            if self._over.is_set() and not self._pending:
                return
            try:
                async with asyncio.timeout(PROGRESS_SECONDS):
                    await self._over.wait()
            except TimeoutError:
                pass


def open_checkpoint(pool: Pool) -> Checkpoint:
    """The weights that a pool names, checked, nothing loaded. Callers are strangers: they name adapters, never paths.

    Raises:
        CheckpointError: a file is missing, truncated or not the one expected.
    """
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.weights.choose import choose_weights

    settings = read_settings()
    vocab = None if pool.lyric_vocab is None else Path(pool.lyric_vocab)
    chosen = choose_weights(settings, pool.checkpoint, vocab).open()
    extras = [Path(folder).expanduser() for folder in pool.extras]
    vocab = chosen.lyric_vocab if chosen.has_lyric_vocab else None
    return Checkpoint.open(chosen.root, vocab, cache=settings.cache, extras=extras, paths=False)


def _bytes(content: Any) -> int:
    """Bytes of the values among inputs or outputs, each counted once."""
    sizes = {leaf.digest: leaf.nbytes for leaf in leaves(content) if isinstance(leaf, Handle)}
    return sum(sizes.values())


def _failure(error: BaseException, stage: str) -> FlowsError:
    if isinstance(error, StageError):
        log.error("%s failed", stage, exc_info=error.cause)
    return messages.portable(error if isinstance(error, FlowsError) else StageError("", stage, error))
