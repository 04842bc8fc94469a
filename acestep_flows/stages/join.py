"""Put pieces of audio one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import Audio


class Join(ItemStage):
    """Join pieces in order, each overlapping the next by a crossfade. The first piece's sample rate holds for all."""

    name, version = "join", 2

    @dataclass(frozen=True)
    class In:
        parts: list[Audio]

    class Params(StageParams):
        crossfade: float = Field(0.0, ge=0, le=60, description="Overlap of neighbours in seconds.")
        curve: Literal["equal_power", "equal_gain"] = Field(
            "equal_power",
            description="equal_power where different sounds meet, equal_gain where the same sound continues.",
        )

    @dataclass(frozen=True)
    class Out:
        audio: Audio

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.splice import join

        return self.Out(join(item.parts, crossfade=params.crossfade, curve=params.curve))
