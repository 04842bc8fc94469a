"""Turn a mel spectrogram into a waveform (spec 04 section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.stages.contract import UNWATCHED, Stage, StageParams, Watch
from acestep_flows.stages.decode_latents import OVERLAP_ABOVE_SECONDS
from acestep_flows.stages.item import attempt
from acestep_flows.values import MEL_HOP, MODEL_RATE, OUTPUT_RATE, Audio, Mel

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement


class Vocode(Stage):
    """Turn a mel spectrogram into a waveform (ADaMoS-HiFiGAN at 44.1 kHz, each channel on its own), at 48 kHz."""

    name, version = "vocode", 1
    parts = ("music_vocoder",)

    @dataclass(frozen=True)
    class In:
        mel: Mel
        like: Audio | None = field(default=None, metadata={"description": "Cut the result to this audio's length."})

    class Params(StageParams):
        overlap: bool | None = Field(None, description="Work in overlapping blocks; absent: above 48 seconds.")

    @dataclass(frozen=True)
    class Out:
        audio: Audio

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.vocoder import load_vocoder

        self.vocoder = load_vocoder(checkpoint, placement)

    def run(self, batch: Sequence[In], params: Sequence[Params], watch: Watch = UNWATCHED) -> list[Any]:
        return [attempt(self.name, self._vocode, item, param) for item, param in zip(batch, params, strict=True)]

    def _vocode(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.resample import resample

        seconds = item.mel.frames * MEL_HOP / MODEL_RATE
        overlap = params.overlap if params.overlap is not None else seconds > OVERLAP_ABOVE_SECONDS
        samples = resample(self.vocoder.decode(item.mel.log_mel, overlap=overlap), MODEL_RATE, OUTPUT_RATE)
        if item.like is not None:
            samples = samples[:, : round(item.like.seconds * OUTPUT_RATE)]
        return self.Out(Audio(samples, OUTPUT_RATE))
