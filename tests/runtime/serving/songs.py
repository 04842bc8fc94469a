"""Short songs to run through any runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from acestep_flows.graph.content import Handle
from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.execution.result import Options, Result
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.layout import plan
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio, Latents

WORDS = {"tags": "pop, drums", "lyrics": "[verse]\nhello"}


def song(**inputs: Any) -> Plan:
    """The plan of a short song."""
    library = Library(working=None)
    given = {**WORDS, "duration": 2.0, "seed": 7, "steps": 4, **inputs}
    return plan(library.load("text2music"), given, registry=stages(), find=library.nested)


def reworked(graph: str, **inputs: Any) -> Plan:
    """The plan of a graph that makes something of a recording: a second and a half of noise."""
    library = Library(working=None)
    samples = np.random.default_rng(4).uniform(-0.3, 0.3, (2, 66_150)).astype(np.float32)
    given = {**WORDS, "seed": 7, "steps": 3, **inputs}
    recording = "reference" if graph == "audio2audio" else "source"
    return plan(
        library.load(graph), given | {recording: Audio(samples, 44_100)}, registry=stages(), find=library.nested
    )


def digests(result: Result) -> dict[str, Mapping[str, object]]:
    """What every node gave, by id."""
    return {id: node.outputs for id, node in result.nodes.items()}


async def play(runner: Any, plan: Plan, events: list[Event] | None = None) -> Result:
    """Run a plan without a cache of earlier runs."""
    listener = (lambda event: None) if events is None else events.append
    return await run_plan(Scheduler(stages(), runner), plan, Options(on_event=listener))


async def sample_call(runner: Any, **params: Any) -> StageCall:
    """A call of `sample` whose inputs are made by `runner`."""

    async def call(stage: str, inputs: Mapping[str, Any] | None = None, **given: Any) -> Any:
        kind = stages()[stage]
        return (await runner.call(StageCall(kind, inputs or {}, kind.Params(**given)), Told())).outputs

    inputs: dict[str, Handle | None] = {
        **await call("encode_prompt", tags=WORDS["tags"]),
        **await call("encode_lyrics", lyrics=WORDS["lyrics"]),
        **await call("init_noise", {"like": None}, duration=2.0, seed=7),
        "reference": None,
        "control": None,
    }
    kind = stages()["sample"]
    inputs = {name: content for name, content in inputs.items() if name in kind.inputs()}
    return StageCall(kind, inputs, kind.Params(**params))


class Told:
    """What a call told of its progress."""

    def __init__(self) -> None:
        self.starts = 0
        self.steps: list[tuple[int, int]] = []
        self.previews: list[tuple[int, Latents]] = []

    def started(self) -> None:
        self.starts += 1

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def preview(self, done: int, total: int, latents: Latents) -> None:
        self.previews.append((done, latents))
