"""Encode audio into the bytes of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import OUTPUT_RATE, Audio, File, Report


class Export(ItemStage):
    """Encode a song as wav, flac, mp3 or ogg, to send small files between machines."""

    name, version = "export", 2

    @dataclass(frozen=True)
    class In:
        audio: Audio

    class Params(StageParams):
        format: Literal["wav", "flac", "mp3", "ogg"] = Field("flac", description="Kind of file.")
        sample_rate: int = Field(OUTPUT_RATE, ge=8000, le=192_000, description="Hz.")

    @dataclass(frozen=True)
    class Out:
        file: File
        report: Report

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.formats import FORMATS
        from acestep_flows.audio.tags import Tags
        from acestep_flows.audio.write import encode, warnings

        encoded = encode(item.audio, FORMATS[params.format], subtype=None, tags=Tags(), sample_rate=params.sample_rate)
        file = File(np.frombuffer(encoded.content, np.uint8), params.format)
        return self.Out(file, Report({"warnings": warnings(encoded)}))
