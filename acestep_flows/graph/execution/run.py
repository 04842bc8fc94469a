"""One plan under way: which nodes wait, work and are done, and the events they send.

A node starts as soon as its inputs exist, so independent branches run side by side, and a node's outputs are written
while the next one works. A node ends after those it needs. Every node has exactly one end (an event of `events.ENDS`),
and when `result` returns or raises, nothing of the run still works.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial

from acestep_flows.errors import Cancelled, CheckpointError, DeadlineExceeded, FlowsError, InputError
from acestep_flows.graph.content import Handle, Outputs, fingerprint, value_bytes
from acestep_flows.graph.execution.cache_key import CacheKey, CacheKeys
from acestep_flows.graph.execution.dependencies import Dependencies
from acestep_flows.graph.execution.events import Event, EventType
from acestep_flows.graph.execution.node_error import at_node
from acestep_flows.graph.execution.result import NodeResult, Options, Result, SongPreview
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.song_length import music_seconds
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.plan import Plan, PlanNode, outputs_in
from acestep_flows.graph.planning.resolve import SKIPPED, call_of, resolve, runs, values_of
from acestep_flows.stages.contract import Port, StageParams
from acestep_flows.values import Latents


async def run_plan(scheduler: Scheduler, plan: Plan, options: Options | None = None) -> Result:
    """Run `plan` to its end; cancelling the coroutine cancels the run. To watch a run while it works, see `PlanRun`.

    Raises:
        StageError: a stage failed (the first failure, unless the run keeps going).
        InputError: a value turned out unusable; its text names the node.
        LostProcess: the process of a stage died in every attempt that the runner makes.
        DeadlineExceeded: the deadline passed.
    """
    return await PlanRun(scheduler, plan, options or Options()).result()


class PlanRun:
    """A plan to be run once: `await run.result()`; `run.cancel()`, from the same thread, stops it."""

    def __init__(self, scheduler: Scheduler, plan: Plan, options: Options) -> None:
        self._scheduler, self._plan, self._options = scheduler, plan, options
        self._name = secrets.token_hex(8)
        self._cache_keys = CacheKeys(scheduler.runner)
        self._dependencies = Dependencies(plan)
        self._held: dict[int, Handle] = {}
        self._outputs: dict[str, Outputs] = {}
        self._done: dict[str, NodeResult] = {}
        self._begun: dict[str, str] = {}
        self._failures: dict[str, FlowsError] = {}
        self._dropped: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped: FlowsError | None = None
        self._idle = asyncio.Event()

    async def result(self) -> Result:
        """Run to the end; raises as `run_plan` says."""
        begun = time.perf_counter()
        timer = None
        if self._options.deadline is not None:
            took_long = f"the run was stopped after {round(self._options.deadline, 3):g} s, its deadline"
            late = DeadlineExceeded(self._options.late or took_long)
            timer = asyncio.get_running_loop().call_later(self._options.deadline, self._stop, late)
        self._emit("started")
        try:
            await self._hold_values()
            await self._find_named_weights()
            for id in self._dependencies.roots():
                self._launch(id)
            if self._tasks:
                await self._idle.wait()
        except asyncio.CancelledError:
            self.cancel()
            while self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            self._emit("cancelled", error=self._stopped)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._save_timings()
        return self._conclude(time.perf_counter() - begun)

    @property
    def unfinished(self) -> frozenset[str]:
        """Cache keys of the calls that were begun and have no outputs, or none yet."""
        return frozenset(key for id, key in self._begun.items() if id not in self._done)

    def cancel(self) -> None:
        """Stop at the next step boundary; `result` then raises Cancelled."""
        self._stop(Cancelled("the run was cancelled"))

    # One node, from inputs that exist to its end.

    def _launch(self, id: str) -> None:
        if self._stopped is None and id not in self._dropped and id not in self._failures:
            task = asyncio.ensure_future(self._run_node(self._plan.nodes[id]))
            self._tasks[id] = task
            task.add_done_callback(partial(self._task_ended, id))

    async def _run_node(self, node: PlanNode) -> None:
        self._emit("queued", node)
        try:
            result, end = await self._obtain(node)
        except Exception:
            await self._sources_done(node)  # Their outputs are to be kept, though this node has none.
            raise
        await self._sources_done(node)
        self._finish(node, result, end)

    async def _obtain(self, node: PlanNode) -> tuple[NodeResult, EventType]:
        """Get the node's outputs from the cache or the runner and publish them; the result, and how the node ends."""
        if node.when and not runs(node, self._outputs, self._held):
            self._publish(node, SKIPPED)
            return NodeResult(node.id, node.stage), "skipped"
        scheduler = self._scheduler
        call = call_of(node, scheduler.stage(node.stage), self._outputs, self._held)
        call = replace(call, preview_every=self._options.preview_every, run=self._name)
        cache_key = await self._cache_keys.of(call)
        key = self._begun[node.id] = cache_key.digest
        cached = await scheduler.cache.obtain(
            key, node.stage, self._options.mode, partial(self._compute, call, cache_key), _NodeListener(self, node)
        )
        self._publish(node, cached.outputs)
        is_new = cached.source == "computed"
        if is_new:
            steps, nbytes = getattr(call.params, "steps", None), value_bytes(cached.outputs)
            length = music_seconds(cached.outputs) or music_seconds(call.inputs)
            scheduler.timings.record(node.stage, cache_key.numerics, steps, cached.seconds, nbytes, length)
        outputs = {port: fingerprint(content) for port, content in cached.outputs.items()}
        result = NodeResult(node.id, node.stage, cache_key, outputs, cached.source, cached.seconds, _seeds(call))
        return result, "finished" if is_new else "cached"

    async def _compute(self, call: StageCall, cache_key: CacheKey, progress: CallProgress) -> Reply:
        """Have the runner make a call. What an adapter made that was replaced meanwhile is not taken for the old one's.

        Raises:
            CheckpointError: the files of an adapter or control branch are not those of the cache key any more.
        """
        runner = self._scheduler.runner
        reply = await runner.call(call, progress)
        named = [name for part in _path_names(call.stage.inputs) if (name := getattr(call.params, part, None))]
        if named and await runner.weights(call.stage, call.params) != cache_key.weights:
            where = ", ".join(named)
            raise CheckpointError(
                "the files were changed during the run", where=where, allowed="the same files; run it again"
            )
        return reply

    def _publish(self, node: PlanNode, outputs: Outputs) -> None:
        """Start the nodes that waited for these outputs. May be called twice: before the node's end, and with it."""
        if node.id in self._outputs or not self._dependencies.is_used(node.id):
            return
        self._outputs[node.id] = outputs
        for user in self._dependencies.supply(node.id):
            self._launch(user)

    async def _sources_done(self, node: PlanNode) -> None:
        """Wait for the nodes this one needs. If one fails after all, this one is dropped: cancelled while it waits."""
        needs = self._dependencies.needs[node.id]
        while working := [self._tasks[id] for id in needs if id in self._tasks and id not in self._done]:
            await asyncio.wait(working)

    def _finish(self, node: PlanNode, result: NodeResult, end: EventType) -> None:
        self._done[node.id] = result
        is_timed = end == "finished" or result.seconds > 0
        self._emit(end, node, seconds=result.seconds if is_timed else None)
        for source in self._dependencies.release(node.id):
            del self._outputs[source]  # so that its values may be freed

    def _task_ended(self, id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[id]
        node = self._plan.nodes[id]
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or (error is not None and id in self._dropped):
            self._emit("cancelled", node, error=self._stopped)
        elif error is not None:
            self._fail(node, at_node(error, node))
        if not self._tasks:
            self._idle.set()

    # Failure and cancellation: nodes that no longer matter are dropped.

    def _fail(self, node: PlanNode, error: FlowsError) -> None:
        self._failures[node.id] = error
        self._emit("failed", node, error=error)
        if not self._options.keep_going and len(self._failures) > 1:
            return  # the first failure has dropped all nodes
        wanted: set[str] = set()
        if self._options.keep_going:
            lost = self._dependencies.with_users([*self._failures, *self._dropped])
            for binding in self._plan.outputs.values():
                needs = {output.node for output in outputs_in(binding)}
                if not needs & lost:
                    wanted |= needs
        self._drop(self._plan.nodes.keys() - self._dependencies.with_sources(wanted))

    def _stop(self, error: FlowsError) -> None:
        if self._stopped is None:
            self._stopped = error
            self._drop(self._plan.nodes.keys())

    def _drop(self, ids: Iterable[str]) -> None:
        for id in ids:
            if id in self._done or id in self._failures or id in self._dropped:
                continue
            self._dropped.add(id)
            if id in self._tasks:
                self._tasks[id].cancel()  # its event comes when it has really stopped
            else:
                self._emit("cancelled", self._plan.nodes[id], error=self._stopped)

    # The run as a whole.

    async def _hold_values(self) -> None:
        """Hand the values written into the plan to the runner, each once."""
        if values := values_of(self._plan):
            handles = await self._scheduler.runner.hold(list(values.values()))
            self._held = dict(zip(values, handles, strict=True))

    async def _find_named_weights(self) -> None:
        """Refuse nodes that name an adapter or control branch which does not exist, before anything is computed."""
        for node in self._plan.nodes.values():
            stage = self._scheduler.stages.get(node.stage)
            if stage is None or node.when:
                continue  # a node with a condition may not run at all
            names = {name: node.inputs[name] for name in _path_names(stage.inputs) if name in node.inputs}
            if not any(isinstance(name, str) for name in names.values()):
                continue
            params: StageParams = stage.Params.model_construct(**names)
            try:
                await self._scheduler.runner.weights(stage, params)
            except InputError as error:
                self._fail(node, at_node(error, node))

    def _save_timings(self) -> None:
        timings, peak = self._scheduler.timings, self._scheduler.runner.peak_memory()
        is_complete = len(self._done) == len(self._plan.nodes)
        if peak is not None and is_complete and any(node.is_new for node in self._done.values()):
            timings.record_peak(self._plan.graph, peak)
        timings.save_between()

    def _conclude(self, seconds: float) -> Result:
        failure = next(iter(self._failures.values()), None)
        if failure is not None and not self._options.keep_going:
            self._emit("failed", error=failure)
            raise failure
        if self._stopped is not None and self._dropped:
            self._emit("cancelled", error=self._stopped)
            raise self._stopped
        outputs = {
            name: resolve(binding, self._outputs, self._held)
            for name, binding in self._plan.outputs.items()
            if all(output.node in self._done for output in outputs_in(binding))
        }
        nodes = {id: self._done[id] for id in self._plan.nodes if id in self._done}
        self._emit("finished", seconds=seconds)
        return Result(self._plan, outputs, nodes, seconds, self._failures)

    def _emit(
        self,
        type: EventType,
        node: PlanNode | None = None,
        *,
        step: int | None = None,
        steps: int | None = None,
        seconds: float | None = None,
        error: FlowsError | None = None,
    ) -> None:
        id, stage = (node.id, node.stage) if node is not None else ("", "")
        self._options.on_event(Event(type, id, stage, time.time(), step, steps, seconds, error))


class _NodeListener:
    """Turns the progress of one call into events of its node, and publishes the outputs."""

    def __init__(self, run: PlanRun, node: PlanNode) -> None:
        self._run, self._node = run, node

    def started(self) -> None:
        self._run._emit("started", self._node)

    def step(self, done: int, total: int) -> None:
        self._run._emit("progress", self._node, step=done, steps=total)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        if self._run._options.preview_every:  # else another run asked for it
            self._run._options.on_preview(SongPreview(self._node.id, self._node.stage, done, total, latents))

    def outputs_ready(self, outputs: Outputs) -> None:
        self._run._publish(self._node, outputs)


def _seeds(call: StageCall) -> dict[str, object]:
    """The seeds among a call's parameters and inputs, lists of seeds included."""
    names = _seed_names(call.stage.inputs)
    params = call.params.model_dump(include=set(names)) if names else {}
    return {name: params.get(name, call.inputs.get(name)) for name in names}


@cache
def _path_names(inputs: Callable[[], Mapping[str, Port]]) -> tuple[str, ...]:
    """Parameters that may name a file of weights: their JSON Schema has the format "path"."""
    return tuple(name for name, port in inputs().items() if port.schema.get("format") == "path")


@cache
def _seed_names(inputs: Callable[[], Mapping[str, Port]]) -> tuple[str, ...]:
    ports = inputs().items()
    return tuple(name for name, port in ports if "seed" in (port.type.kind, port.type.item and port.type.item.kind))
