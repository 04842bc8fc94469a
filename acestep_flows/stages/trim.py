"""Cut a piece out of audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from acestep_flows.stages.batching import run_item
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.values import Audio, Span


class Trim(Stage):
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

    def run(self, batch: Sequence[In], params: Sequence[Params], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return [run_item(self.name, self._trim, item, param) for item, param in zip(batch, params, strict=True)]

    def _trim(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.splice import trim

        return self.Out(trim(item.audio, params.span))
