"""Measure audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acestep_flows.stages.batching import run_item
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.values import Audio, Report


class Measure(Stage):
    """Measure loudness, true peak, clipping, silence, stereo, spectrum, tempo and key of a recording."""

    name, version = "measure", 1

    @dataclass(frozen=True)
    class In:
        audio: Audio

    class Params(StageParams):
        pass

    @dataclass(frozen=True)
    class Out:
        report: Report

    def run(self, batch: Sequence[In], params: Sequence[Params], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return [run_item(self.name, self._measure, item.audio) for item in batch]

    def _measure(self, audio: Audio) -> Out:
        from acestep_flows.audio.measure import measure

        return self.Out(Report(measure(audio).entries()))
