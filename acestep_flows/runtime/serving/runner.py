"""The runner of the served door: stages in Ray Serve deployments, values in Ray's object store.

The process that holds a `ServeRunner` owns every value of its runs, also those that hosts computed: a host may die
after it answered and nothing is lost. A handle's token is a `StoredValue`; values are read only where they are
fetched or written to disk, and where functions are applied to them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray import exceptions as ray_errors
from ray import serve
from ray.serve import exceptions as serve_errors

from acestep_flows.errors import FlowsError, LostProcess, Overloaded, StageError
from acestep_flows.graph.content import Handle, Outputs, translate
from acestep_flows.graph.execution.runner import CallProgress, IgnoreProgress, Reply, Store
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.serving import messages
from acestep_flows.runtime.serving.lost_process_retry import LostProcessRetry
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.stage_host import open_checkpoint
from acestep_flows.runtime.serving.stored_value import StoredValue, process_of, references
from acestep_flows.stages.contract import Stage, StageParams
from acestep_flows.tracing.context import current_traceparent
from acestep_flows.values import Value

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

R = TypeVar("R")

APP = "acestep-flows"
"""The name of the Serve application, where nobody chose another."""

STATS_SECONDS = 10.0
"""How long replicas may take to answer with their statistics."""

CANCEL_SECONDS = 10.0
"""How long a host may take to stop a cancelled call, which it does at its next step."""

_LOST = (
    ray_errors.RayActorError,
    ray_errors.ObjectLostError,
    ray_errors.WorkerCrashedError,
    ray_errors.NodeDiedError,
    ray_errors.LocalRayletDiedError,
    # By the shutdown of the host; cancelling a call from here raises asyncio.CancelledError.
    ray_errors.TaskCancelledError,
)


class ServeRunner:
    """Runs stages in the processes of a pool.

    Args:
        pool: the pool that the processes were started with; later changes of its file do not count.
        hosts: handles by name of the process.
    """

    def __init__(self, pool: Pool, hosts: Mapping[str, DeploymentHandle[Any]]) -> None:
        self.pool = pool
        self.checkpoint = open_checkpoint(pool)
        # By reference, whatever Ray's environment says: by value, large outputs do not fit into a message.
        self._hosts = {name: handle.options(stream=True, _by_reference=True) for name, handle in hosts.items()}
        self._retries = {name: LostProcessRetry(process.most) for name, process in pool.processes.items()}
        self._files = ThreadPoolExecutor(4, thread_name_prefix="values")
        self._pool_ended = False

    @classmethod
    def connect(cls, pool: Pool, app: str = APP) -> ServeRunner:
        """A runner over an application that `build_app` made and that is ready."""
        return cls(pool, {name: serve.get_deployment_handle(name, app_name=app) for name in pool.processes})

    def close(self) -> None:
        """End the threads, but do not wait for those that hang in a Ray that has died. Values with references stay."""
        self._files.shutdown(wait=False, cancel_futures=True)

    def pool_ended(self) -> None:
        """Take it that no process will answer any more, so that nobody waits for one to stop a cancelled call."""
        self._pool_ended = True

    @property
    def durable(self) -> bool:
        """Yes: values are lost with this process, and accepted runs have to end in another."""
        return True

    def numerics(self, stage: type[Stage]) -> str:
        """The policy of the process that has the stage."""
        return self.pool.process(stage).placement.numerics

    def peak_memory(self) -> int | None:
        """None: stages run in other processes."""
        return None

    async def weights(self, stage: type[Stage], params: StageParams) -> tuple[str, ...]:
        """The digests that the stage names, read in this process."""
        digests: tuple[str, ...] = await self._in_files(stage.weights, self.checkpoint, params)
        return digests

    async def hold(self, content: Any) -> Any:
        """Put values into the object store, owned by this process."""
        return await self._in_files(translate, content, _put)

    async def fetch(self, content: Any) -> Any:
        """Values, from wherever in the cluster they are.

        Raises:
            LostProcess: a value was lost with the machine it was on.
        """
        with translate_errors():
            return await self._in_files(translate, content, _get)

    async def apply(self, work: Callable[..., Sequence[R]], items: Sequence[Any], *more: Any) -> list[R]:
        """Call `work` in the processes that computed the values, and here for items whose values this process has.

        Raises:
            LostProcess: a process died too often (see `lost_process_retry`).
        """
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(process_of(item), []).append(place)
        parts = await asyncio.gather(
            *(self._apply_in(name, work, [items[place] for place in part], more) for name, part in places.items()),
            return_exceptions=True,
        )
        results: dict[int, R] = {}
        for part, made in zip(places.values(), parts, strict=True):
            if isinstance(made, BaseException):
                raise made
            results.update(zip(part, made, strict=True))
        return [results[place] for place in range(len(items))]

    async def _apply_in(
        self, process: str, work: Callable[..., Sequence[R]], items: list[Any], more: tuple[Any, ...]
    ) -> Sequence[R]:
        if not process:
            made: Sequence[R] = await self._in_files(work, await self.fetch(items), *more)
            return made
        host = self._hosts[process].options(stream=False)
        content, tokens = messages.part(items)

        async def attempt(progress: CallProgress, alone_until: int) -> Sequence[R]:
            progress.started()
            with translate_errors(work.__name__):
                response: Any = host.apply.remote(work, more, content, tuple(tokens), *references(tokens))
                try:
                    answer = await response
                except asyncio.CancelledError:
                    response.cancel()
                    raise
            if isinstance(answer, messages.Failed):
                raise answer.error
            results: list[R] = answer.results
            return results

        return await self._retries[process].call(attempt, IgnoreProgress())

    async def save(self, store: Store, key: str, outputs: Outputs, stage: str) -> None:
        """Write outputs from this process. On one machine only the file is a copy."""
        values = await self.fetch(outputs)
        await self._in_files(store.write, key, values, stage)

    async def load(self, store: Store, key: str) -> Outputs | None:
        """Outputs from disk into the object store."""
        outputs = await self._in_files(store.read, key)
        return None if outputs is None else await self.hold(outputs)

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        """Run the stage where the pool has it; when cancelled, wait until it has stopped, or for CANCEL_SECONDS.

        Raises:
            LostProcess: the process died too often (see `lost_process_retry`).
        """
        retry = self._retries[self.pool.home_of[call.stage.name]]
        return await retry.call(partial(self._attempt, call), progress)

    async def _attempt(self, call: StageCall, progress: CallProgress, alone_until: int) -> Reply | None:
        """One attempt of a call, as `MakeCall` says."""
        inputs, tokens = messages.part(dict(call.inputs))
        process = self.pool.home_of[call.stage.name]
        host = self._hosts[process]
        with translate_errors(call.stage.name):
            response: Any = host.run.remote(
                call.stage.name,
                call.params,
                inputs,
                tuple(tokens),
                *references(tokens),
                preview_every=call.preview_every,
                run=call.run,
                alone_until=alone_until,
                traceparent=current_traceparent(),
            )
            stream = None
            try:
                stream = await response._to_object_ref_gen()
                return await _read_answer(stream, progress, process)
            except asyncio.CancelledError:
                response.cancel()
                if stream is not None and not self._pool_ended:
                    await _drain(stream)
                raise

    @property
    def processes(self) -> tuple[str, ...]:
        """Names of the processes that it can call."""
        return tuple(self._hosts)

    def least(self, name: str) -> int:
        """How many replicas of a process there are at the least."""
        return self.pool.processes[name].least

    def pids_asker(self, name: str) -> Callable[[float], tuple[set[int], bool]]:
        """A function that asks the replicas of a process, for so many seconds, for their process ids.

        It returns those that answered, and whether all did. It blocks, and raises what Ray raises. A process that needs
        no replica has answered with none.
        """

        def ask(seconds: float) -> tuple[set[int], bool]:
            try:
                answers = self._hosts[name].broadcast("pid").results(timeout_s=seconds, return_exceptions=True)
            except serve_errors.DeploymentUnavailableError:
                if self.least(name) == 0:
                    return set(), True
                raise
            pids = {answer for answer in answers if isinstance(answer, int)}
            return pids, len(pids) == len(answers)

        return ask

    async def stats(self) -> dict[str, list[dict[str, Any]]]:
        """Statistics of the replicas of every process; an empty list while one of them is being replaced."""

        def ask(host: DeploymentHandle[Any]) -> list[dict[str, Any]]:
            try:
                replicas: list[dict[str, Any]] = host.broadcast("stats").results(timeout_s=STATS_SECONDS)
            except (ray_errors.RayError, serve_errors.RayServeException, TimeoutError):
                return []
            return replicas

        answers = await asyncio.gather(*(self._in_files(ask, host) for host in self._hosts.values()))
        return dict(zip(self._hosts, answers, strict=True))

    def _in_files(self, work: Any, *args: Any) -> Any:
        return asyncio.get_running_loop().run_in_executor(self._files, work, *args)


async def _read_answer(stream: AsyncIterator[Any], progress: CallProgress, process: str) -> Reply | None:
    """Read the messages up to the last, then references to the values; None when the call stopped on the way."""
    async for reference in stream:
        message: messages.Message = await reference
        match message:
            case messages.Started():
                progress.started()
            case messages.Steps(done):
                for step, total in done:
                    progress.step(step, total)
            case messages.PreviewMessage(step, total, latents):
                progress.preview(step, total, latents)
            case messages.Failed(error):
                raise error
            case messages.Cleared():
                return None
            case messages.Done(outputs, digests, seconds):
                *values, complete = [item async for item in stream] or [reference]
                if await complete == messages.Complete():
                    stored = [StoredValue(value, process) for value in values]
                    return Reply(messages.join(outputs, digests, stored), seconds)
    raise LostProcess("the answer ended before it was complete")


async def _drain(stream: AsyncIterator[Any]) -> None:
    """Wait until the host is done with the call, however it ends, but not for a host that stands still."""
    with contextlib.suppress(ray_errors.RayError, StopAsyncIteration, TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS):
            async for reference in stream:
                await reference


@contextlib.contextmanager
def translate_errors(stage: str = "") -> Iterator[None]:
    """Raise errors of Ray as errors of this package."""
    try:
        yield
    except FlowsError:
        raise
    except serve_errors.BackPressureError as error:
        raise Overloaded(str(error), retry_after=error.retry_after_s or 1.0) from error
    except serve_errors.DeploymentUnavailableError as error:
        raise Overloaded(f"{stage or 'a process'} is not available: {error}", retry_after=10.0) from error
    except (*_LOST, serve_errors.RayServeException) as error:
        raise LostProcess(f"{stage or 'a value'}: the process that had it died ({type(error).__name__})") from error
    except ray_errors.RayError as error:
        raise StageError("", stage, error) from error


def _put(content: Any) -> Any:
    if not isinstance(content, Value):
        return content
    handle = Handle.of(content)  # before the value is put, so that its digest travels with it
    return replace(handle, token=StoredValue(ray.put(content)))


def _get(content: Any) -> Any:
    return ray.get(content.token.reference) if isinstance(content, Handle) else content
