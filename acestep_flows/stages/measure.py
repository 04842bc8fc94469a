"""Measure audio."""

from __future__ import annotations

from dataclasses import dataclass

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import Audio, Report


class Measure(ItemStage):
    """Measure loudness, true peak, clipping, silence, stereo, spectrum, tempo and key of a recording."""

    name, version = "measure", 2

    @dataclass(frozen=True)
    class In:
        audio: Audio

    class Params(StageParams):
        pass

    @dataclass(frozen=True)
    class Out:
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.measure import measure

        return self.Out(Report(measure(item.audio).entries()))
