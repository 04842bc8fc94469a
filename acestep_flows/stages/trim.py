"""Cut a piece out of audio."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import Audio, Span


class Trim(ItemStage):
    """Keep the part of a recording that lies inside a span."""

    name, version = "trim", 1

    @dataclass(frozen=True)
    class In:
        audio: Audio

    class Params(StageParams):
        span: Span = Field(description="What to keep, in seconds.")

    @dataclass(frozen=True)
    class Out:
        audio: Audio

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.splice import trim

        return self.Out(trim(item.audio, params.span))
