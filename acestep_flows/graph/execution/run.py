"""One plan under way: which nodes wait, work and are done, and what they told.

A node starts as soon as its inputs exist, so independent branches go side by side, and a node's outputs are written
while the next one works. It ends after those it needs. Every node has exactly one end (an event of `events.ENDS`), and
when `result` returns or raises, nothing of the run still works.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial

from acestep_flows.errors import Cancelled, DeadlineExceeded, FlowsError, InputError, StageError
from acestep_flows.graph.content import Handle, Outputs, fingerprint, leaves
from acestep_flows.graph.execution.cache_key import CacheKeys
from acestep_flows.graph.execution.events import Event, EventType
from acestep_flows.graph.execution.result import NodeResult, Options, Result, SongPreview
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import steps_of
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.plan import Plan, PlanNode, outputs_in
from acestep_flows.graph.planning.resolve import UNTAKEN, call_of, resolve, taken, values_of
from acestep_flows.stages.contract import Port, StageParams
from acestep_flows.values import Latents


async def run_plan(scheduler: Scheduler, plan: Plan, options: Options | None = None) -> Result:
    """Run `plan` to its end; cancelling the coroutine cancels the run. To watch a run while it works, see `PlanRun`.

    Raises:
        StageError: a stage failed (the first failure, unless the run keeps going).
        InputError: a value turned out unusable; its text names the node.
        DeadlineExceeded: the deadline passed.
    """
    return await PlanRun(scheduler, plan, options or Options()).result()


class PlanRun:
    """A plan to be run once: `await run.result()`; `run.cancel()`, from the same thread, stops it."""

    def __init__(self, scheduler: Scheduler, plan: Plan, options: Options) -> None:
        self._scheduler, self._plan, self._options = scheduler, plan, options
        self._name = secrets.token_hex(8)
        self._identities = CacheKeys(scheduler.runner)
        self._held: dict[int, Handle] = {}
        self._outputs: dict[str, Outputs] = {}
        self._done: dict[str, NodeResult] = {}
        self._keys: dict[str, str] = {}
        self._failures: dict[str, FlowsError] = {}
        self._dropped: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped: FlowsError | None = None
        self._idle = asyncio.Event()

        self._needs = {id: node.needs() for id, node in plan.nodes.items()}
        self._waits_for = {id: len(needs) for id, needs in self._needs.items()}
        self._used_by: dict[str, list[str]] = {id: [] for id in plan.nodes}
        for id, needs in self._needs.items():
            for source in needs:
                self._used_by[source].append(id)
        self._uses_left = {id: len(users) for id, users in self._used_by.items()}
        for output in outputs_in(plan.outputs):
            self._uses_left[output.node] += 1  # Never counted down: what the plan gives stays.

    async def result(self) -> Result:
        """Run to the end; raises as `run_plan` says."""
        begun = time.perf_counter()
        timer = None
        if self._options.deadline is not None:
            late = DeadlineExceeded(f"the run was stopped after {self._options.deadline:g} s, its deadline")
            timer = asyncio.get_running_loop().call_later(self._options.deadline, self._stop, late)
        self._tell("started")
        try:
            await self._hold_values()
            await self._find_named_weights()
            for id in [id for id, count in self._waits_for.items() if count == 0]:
                self._launch(id)
            if self._tasks:
                await self._idle.wait()
        except asyncio.CancelledError:
            self.cancel()
            while self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            self._tell("cancelled", error=self._stopped)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._save_timings()
        return self._conclude(time.perf_counter() - begun)

    @property
    def unfinished(self) -> frozenset[str]:
        """Cache keys of the calls that were begun and have given nothing, or nothing yet."""
        return frozenset(key for id, key in self._keys.items() if id not in self._done)

    def cancel(self) -> None:
        """Stop at the next step boundary; `result` then raises Cancelled."""
        self._stop(Cancelled("the run was cancelled"))

    # One node, from inputs that exist to its end.

    def _launch(self, id: str) -> None:
        if self._stopped is None and id not in self._dropped and id not in self._failures:
            task = asyncio.ensure_future(self._run_node(self._plan.nodes[id]))
            self._tasks[id] = task
            task.add_done_callback(partial(self._over, id))

    async def _run_node(self, node: PlanNode) -> None:
        self._tell("queued", node)
        try:
            done, how = await self._made(node)
        except Exception:
            await self._sources_done(node)  # What they gave is to be kept, though nothing comes of it here.
            raise
        await self._sources_done(node)
        self._finish(node, done, how)

    async def _made(self, node: PlanNode) -> tuple[NodeResult, EventType]:
        """What the node gave, to those who need it already, and how it ends."""
        if not taken(node, self._outputs, self._held):
            self._give(node, UNTAKEN)
            return NodeResult(node.id, node.stage), "skipped"
        scheduler = self._scheduler
        call = call_of(node, scheduler.stage(node.stage), self._outputs, self._held)
        call = replace(call, preview_every=self._options.preview_every, run=self._name)
        made = await self._identities.of(call)
        self._keys[node.id] = made.digest
        found = await scheduler.cache.obtain(
            made.digest, node.stage, self._options.mode, partial(scheduler.runner.call, call), _NodeListener(self, node)
        )
        computed = found.source == "computed"
        if computed:
            nbytes = sum(leaf.nbytes for leaf in leaves(found.outputs) if isinstance(leaf, Handle))
            scheduler.timings.record(node.stage, made.numerics, steps_of(call.params), found.seconds, nbytes)
        outputs = {port: fingerprint(content) for port, content in found.outputs.items()}
        self._give(node, found.outputs)
        done = NodeResult(node.id, node.stage, made, outputs, found.source, found.seconds, _seeds(call))
        return done, "finished" if computed else "cached"

    def _give(self, node: PlanNode, outputs: Outputs) -> None:
        """Let those begin that need the outputs. They may be given twice: ahead of the node's end, and with it."""
        if node.id in self._outputs or not self._uses_left[node.id]:
            return
        self._outputs[node.id] = outputs
        for user in self._used_by[node.id]:
            self._waits_for[user] -= 1
            if self._waits_for[user] == 0:
                self._launch(user)

    async def _sources_done(self, node: PlanNode) -> None:
        """Wait for the nodes this one needs. If one fails after all, this one is dropped: cancelled while it waits."""
        while working := [self._tasks[id] for id in self._needs[node.id] if id in self._tasks and id not in self._done]:
            await asyncio.wait(working)

    def _finish(self, node: PlanNode, done: NodeResult, how: EventType) -> None:
        self._done[node.id] = done
        known = how == "finished" or done.seconds > 0
        self._tell(how, node, seconds=done.seconds if known else None)
        for source in self._needs[node.id]:
            self._uses_left[source] -= 1
            if self._uses_left[source] == 0:
                del self._outputs[source]  # The last that needed it is done: let go of the value.

    def _over(self, id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[id]
        node = self._plan.nodes[id]
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or (error is not None and id in self._dropped):
            self._tell("cancelled", node, error=self._stopped)
        elif error is not None:
            self._fail(node, _located(error, node))
        if not self._tasks:
            self._idle.set()

    # Failure and cancellation: what no longer matters is dropped.

    def _fail(self, node: PlanNode, error: FlowsError) -> None:
        self._failures[node.id] = error
        self._tell("failed", node, error=error)
        wanted: set[str] = set()
        if self._options.keep_going:
            lost = _closure([*self._failures, *self._dropped], self._used_by)
            for binding in self._plan.outputs.values():
                needs = {output.node for output in outputs_in(binding)}
                if not needs & lost:
                    wanted |= needs
        self._drop(self._plan.nodes.keys() - _closure(wanted, self._needs))

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
                self._tasks[id].cancel()  # Told when it has really stopped.
            else:
                self._tell("cancelled", self._plan.nodes[id], error=self._stopped)

    # The run as a whole.

    async def _hold_values(self) -> None:
        """Hand the values written into the plan to the runner, each once."""
        if values := values_of(self._plan):
            held = await self._scheduler.runner.hold(list(values.values()))
            self._held = dict(zip(values, held, strict=True))

    async def _find_named_weights(self) -> None:
        """Refuse at once what asks for an adapter or control branch that is not there, not after an hour of others."""
        for node in self._plan.nodes.values():
            stage = self._scheduler.stages.get(node.stage)
            if stage is None or node.when:
                continue  # with a condition it may not run at all
            named = {name: node.inputs[name] for name in _path_names(stage.inputs) if name in node.inputs}
            if not any(isinstance(name, str) for name in named.values()):
                continue
            params: StageParams = stage.Params.model_construct(**named)
            try:
                await self._scheduler.runner.weights(stage, params)
            except InputError as error:
                self._fail(node, _located(error, node))

    def _save_timings(self) -> None:
        timings, peak = self._scheduler.timings, self._scheduler.runner.peak_memory()
        whole = len(self._done) == len(self._plan.nodes)
        if peak is not None and whole and any(done.source == "computed" for done in self._done.values()):
            timings.record_peak(self._plan.graph, peak)
        timings.save()

    def _conclude(self, seconds: float) -> Result:
        failed = next(iter(self._failures.values()), None)
        if failed is not None and not self._options.keep_going:
            self._tell("failed", error=failed)
            raise failed
        if self._stopped is not None and self._dropped:
            self._tell("cancelled", error=self._stopped)
            raise self._stopped
        outputs = {
            name: resolve(binding, self._outputs, self._held)
            for name, binding in self._plan.outputs.items()
            if all(output.node in self._done for output in outputs_in(binding))
        }
        nodes = {id: self._done[id] for id in self._plan.nodes if id in self._done}
        self._tell("finished", seconds=seconds)
        return Result(self._plan, outputs, nodes, seconds, self._failures)

    def _tell(
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
    """Hears one call: its progress is told as events of its node, and with its outputs others begin."""

    def __init__(self, run: PlanRun, node: PlanNode) -> None:
        self._run, self._node = run, node

    def started(self) -> None:
        self._run._tell("started", self._node)

    def step(self, done: int, total: int) -> None:
        self._run._tell("progress", self._node, step=done, steps=total)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        if self._run._options.preview_every:  # else it is another run's wish
            self._run._options.on_preview(SongPreview(self._node.id, self._node.stage, done, total, latents))

    def given(self, outputs: Outputs) -> None:
        self._run._give(self._node, outputs)


def _closure(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """`start` and everything reachable from it."""
    reached, pending = set(start), list(start)
    while pending:
        for id in edges[pending.pop()]:
            if id not in reached:
                reached.add(id)
                pending.append(id)
    return reached


def _located(error: BaseException, node: PlanNode) -> FlowsError:
    """The error with its node named; a copy, for others may have met the same error in nodes of their own."""
    if isinstance(error, StageError):
        located = StageError(node.id, node.stage, error.cause)
        located.__cause__ = error.cause
        return located
    if isinstance(error, InputError):
        if error.where.startswith("node "):
            return error
        named, where = copy.copy(error), f"node {node.id}, {error.where}".rstrip(", ")
        InputError.__init__(named, error.what, where=where, allowed=error.allowed)
        return named
    if isinstance(error, FlowsError):
        return error
    located = StageError(node.id, node.stage, error)
    located.__cause__ = error
    return located


def _seeds(call: StageCall) -> dict[str, object]:
    """The seeds among a call's parameters and inputs, lists of seeds included."""
    names = _seed_names(call.stage.inputs)
    params = call.params.model_dump(include=set(names)) if names else {}
    return {name: params.get(name, call.inputs.get(name)) for name in names}


@cache
def _path_names(inputs: Callable[[], Mapping[str, Port]]) -> tuple[str, ...]:
    """Parameters that name weights to be found: their JSON Schema has the format "path"."""
    return tuple(name for name, port in inputs().items() if port.schema.get("format") == "path")


@cache
def _seed_names(inputs: Callable[[], Mapping[str, Port]]) -> tuple[str, ...]:
    ports = inputs().items()
    return tuple(name for name, port in ports if "seed" in (port.type.kind, port.type.item and port.type.item.kind))
