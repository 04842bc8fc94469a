"""Stages that work, in a few lines each, and tell what they did; and short ways to plan and run them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from acestep_flows.errors import CheckpointError, FlowsError, InputError, LostProcess
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.events import ENDS, Event
from acestep_flows.graph.execution.result import Options, Result
from acestep_flows.graph.execution.run import PlanRun, run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import NodeOutput, Plan, PlanNode
from acestep_flows.model.placement import Placement
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.stages.ports import Seed
from acestep_flows.values import Latents, Report

RAN: list[str] = []
"""What ran since the last `RAN.clear()`: stage names, with the tag where there is one."""


class Make(Stage):
    """A seed to latents."""

    name, version = "make", 1
    parts = ("transformer",)

    class Params(StageParams):
        seed: Seed = 0
        frames: int = 4

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        RAN.append("make")
        draws = (np.random.default_rng(p.seed).standard_normal((8, 16, p.frames)) for p in params)
        return [self.Out(Latents(draw.astype(np.float32))) for draw in draws]


class Mix(Stage):
    """The sum of latents, louder or softer."""

    name, version = "mix", 1

    @dataclass(frozen=True)
    class In:
        parts: list[Latents]

    class Params(StageParams):
        gain: float = 1.0

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        RAN.append("mix")
        return [
            self.Out(
                Latents(sum(part.array for part in item.parts) * np.float32(p.gain)), Report({"n": len(item.parts)})
            )
            for item, p in zip(batch, params, strict=True)
        ]


class Step(Stage):
    """Latents in `steps` steps, each of which takes `pause` seconds."""

    name, version = "step", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents | None = None

    class Params(StageParams):
        steps: int = 3
        pause: float = 0.0
        tag: str = ""

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    steps_done: ClassVar[int] = 0

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        RAN.append("step" + params[0].tag)
        for done in range(params[0].steps):
            try:
                watch.step(0, done, params[0].steps)
            except FlowsError as error:
                return [error]
            time.sleep(params[0].pause)
            Step.steps_done += 1
        given = batch[0].latents
        return [self.Out(given if given is not None else Latents(np.zeros((8, 16, 1), np.float32)))]


class Judge(Stage):
    """Whether latents are loud, and how loud: JSON on output ports."""

    name, version = "judge", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents

    class Params(StageParams):
        limit: float = 0.0

    @dataclass(frozen=True)
    class Out:
        loud: bool
        score: float
        both: list[Latents]

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        RAN.append("judge")
        score = float(np.abs(batch[0].latents.array).max())
        return [self.Out(score > params[0].limit, score, [batch[0].latents] * 2)]


class Break(Stage):
    """Fail, in one of the ways there are."""

    name, version = "break", 1
    lost: ClassVar[int] = 0

    @dataclass(frozen=True)
    class In:
        latents: Latents | None = None

    class Params(StageParams):
        how: Literal["input", "crash", "lost"] = "crash"

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        RAN.append("break")
        if params[0].how == "crash":
            raise ZeroDivisionError("by zero")
        if params[0].how == "input":
            return [InputError("too long", where="span.end", allowed="up to 30 s")]
        if Break.lost:
            Break.lost -= 1
            return [LostProcess("gone")]
        return [self.Out(Latents(np.zeros((8, 16, 1), np.float32)))]


class Meet(Stage):
    """Finish only when `people` calls are here at once."""

    name, version = "meet", 1
    barrier: ClassVar[threading.Barrier] = threading.Barrier(2)

    class Params(StageParams):
        who: int

    @dataclass(frozen=True)
    class Out:
        who: int

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        Meet.barrier.wait(timeout=10)
        return [self.Out(params[0].who)]


class Sing(Stage):
    """Latents as they are, if the voice is "alto": there are weights for no other."""

    name, version = "sing", 1

    @dataclass(frozen=True)
    class In:
        latents: Latents | None = None

    class Params(StageParams):
        voice: str | None = Field(None, json_schema_extra={"format": "path"})

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    @classmethod
    def weights(cls, checkpoint: Any, params: Any) -> tuple[str, ...]:
        if params.voice not in (None, "alto"):
            raise CheckpointError(f"no weights for {params.voice!r}", where="voice", allowed="alto")
        return (str(params.voice),)

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        RAN.append("sing")
        return [self.Out(item.latents) for item in batch]


STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (Make, Mix, Step, Judge, Break, Meet, Sing)}


@dataclass
class Weights:
    """Stands in for a checkpoint: digests by part."""

    digests: dict[str, str] = field(default_factory=lambda: {"transformer": "w1"})
    asked: int = 0

    def digest(self, part: str) -> str:
        self.asked += 1
        return self.digests[part]


def out(node: str, port: str = "latents") -> NodeOutput:
    return NodeOutput(node, port)


def node(stage: str, *, when: tuple[Any, ...] = (), **inputs: Any) -> tuple[str, dict[str, Any], tuple[Any, ...]]:
    return stage, inputs, when


def plan_of(
    nodes: Mapping[str, tuple[str, dict[str, Any], tuple[Any, ...]]],
    outputs: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Plan:
    """A plan of nodes; by default its output is the last node's latents."""
    planned = {id: PlanNode(id, stage, given, when) for id, (stage, given, when) in nodes.items()}
    return Plan("small", "0" * 64, inputs or {}, planned, outputs or {"latents": out([*nodes][-1])})


def song(seed: int = 0, gain: float = 1.0) -> Plan:
    """make two, step one, mix them."""
    return plan_of(
        {
            "one": node("make", seed=seed),
            "two": node("make", seed=7),
            "long": node("step", latents=out("one")),
            "song": node("mix", parts=[out("long"), out("two")], gain=gain),
        },
        {"latents": out("song"), "report": out("song", "report")},
        {"seed": seed, "gain": gain},
    )


@contextmanager
def scheduler_of(
    *,
    store: DiskStore | None = None,
    memory: int = 2**24,
    weights: Weights | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    workers: int = 4,
) -> Iterator[Scheduler]:
    checkpoint: Any = weights or Weights()
    with LocalRunner(checkpoint, Placement(dtype=dtype), workers=workers) as runner:
        yield Scheduler(STAGES, runner, Cache(runner, memory=memory, store=store))


def run(plan: Plan, options: Options | None = None, **where: Any) -> tuple[Result, dict[str, Any]]:
    """Run `plan` in a scheduler of its own; the result, and the values of its outputs."""

    async def both() -> tuple[Result, dict[str, Any]]:
        with scheduler_of(**where) as scheduler:
            result = await run_plan(scheduler, plan, options)
            return result, await scheduler.runner.fetch(dict(result.outputs))

    return asyncio.run(both())


def told(
    plan: Plan, act: Callable[[PlanRun, Event], None] | None = None, store: DiskStore | None = None, **options: Any
) -> tuple[list[Event], Any]:
    """All events of a run, and its result or the error it raised; `act` hears each event with the run at hand."""
    events: list[Event] = []

    async def both() -> Any:
        with scheduler_of(store=store) as scheduler:

            def hear(event: Event) -> None:
                events.append(event)
                if act is not None:
                    act(under_way, event)

            under_way = PlanRun(scheduler, plan, Options(on_event=hear, **options))
            try:
                return await under_way.result()
            except FlowsError as error:
                return error

    return events, asyncio.run(both())


def ends(events: list[Event]) -> dict[str, str]:
    """How each node ended, in this order."""
    return {event.node: event.type for event in events if event.node and event.type in ENDS}


def sources(result: Result) -> dict[str, str]:
    """Where the outputs of each node came from."""
    return {id: done.source if done.cache_key else "skipped" for id, done in result.nodes.items()}
