"""Run the shipped graphs on a checkpoint, with their own or other sampling settings."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from acestep_flows.audio.resample import resample
from acestep_flows.errors import CheckpointError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library, shipped
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Dtype, Placement
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from acestep_flows.values import OUTPUT_RATE, Audio
from benchmarks.nano.listening import RATE, Samples

SAMPLING = ("sample", "repaint", "edit")


class Player:
    """A loaded checkpoint, and the shipped graphs with `settings` (guidance ...) in every sampling node."""

    def __init__(self, checkpoint: Path, settings: Mapping[str, Any], dtype: Dtype = "float32") -> None:
        self.checkpoint, self.settings = Checkpoint.open(checkpoint), dict(settings)
        self.runner = LocalRunner(self.checkpoint, Placement(dtype=dtype))
        self.scheduler = Scheduler(stages(), self.runner)
        self._folder = Path(tempfile.mkdtemp(prefix="graphs-"))
        for path in shipped().glob("*.yaml"):
            (self._folder / path.name).write_text(yaml.safe_dump(self._with_settings(yaml.safe_load(path.read_text()))))
        self._library = Library([self._folder], working=None)
        self._scope = cache(lambda name: checked(self._library.load(name), stages(), self._library.nested))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def play(self, graph: str, **inputs: Any) -> dict[str, Any]:
        """Run a graph and return the values of its outputs by name."""

        async def run() -> Any:
            result = await run_plan(self.scheduler, lay_out(self._scope(graph), inputs))
            return await self.runner.fetch(dict(result.outputs))

        values: dict[str, Any] = asyncio.run(run())
        return values

    def audio(self, graph: str, output: str = "audio", **inputs: Any) -> Samples:
        """Run a graph and return one audio output, (2, samples) at 44.1 kHz."""
        return to_samples(self.play(graph, **inputs)[output])

    def has_control(self, name: str) -> bool:
        """Whether the checkpoint has the control branch `name`."""
        return self._has("controls", name)

    def has_adapter(self, name: str) -> bool:
        """Whether the checkpoint has the adapter `name`."""
        return self._has("adapters", name)

    def _has(self, kind: Any, name: str) -> bool:
        try:
            self.checkpoint.extras.find(kind, name)
        except CheckpointError:
            return False
        return True

    def _with_settings(self, document: dict[str, Any]) -> dict[str, Any]:
        for node in document["nodes"].values():
            if node.get("stage") in SAMPLING:
                taken = stages()[node["stage"]].inputs().keys() - node["with"].keys()
                node["with"] |= {name: value for name, value in self.settings.items() if name in taken}
        for name, value in self.settings.items():
            if name in document["inputs"]:
                document["inputs"][name]["default"] = value
        return document


def to_samples(audio: Audio) -> Samples:
    """Audio in the form of the estimators: (2, samples) at 44.1 kHz."""
    samples: Samples = resample(audio.samples, audio.sample_rate, RATE)
    return samples


def to_audio(samples: Samples) -> Audio:
    """Audio in the form of graphs: 48 kHz, clipped to -1..1."""
    return Audio(np.clip(resample(samples, RATE, OUTPUT_RATE), -1.0, 1.0), OUTPUT_RATE)
