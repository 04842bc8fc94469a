"""Decode latents to a mel spectrogram (spec 04 section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.stages.contract import UNWATCHED, Stage, StageParams, Watch
from acestep_flows.stages.item import attempt
from acestep_flows.values import Latents, Mel

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement

OVERLAP_ABOVE_SECONDS = 48.0
"""Longer songs are decoded in overlapping windows unless told otherwise, so that memory stays bounded."""


class DecodeLatents(Stage):
    """Decode latents to a stereo log-mel spectrogram with the autoencoder's decoder."""

    name, version = "decode_latents", 1
    parts = ("music_dcae_f8c8",)

    @dataclass(frozen=True)
    class In:
        latents: Latents

    class Params(StageParams):
        overlap: bool | None = Field(None, description="Decode in overlapping windows; absent: above 48 seconds.")

    @dataclass(frozen=True)
    class Out:
        mel: Mel

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.autoencoder import Autoencoder

        self.autoencoder = Autoencoder.load(checkpoint, placement, halves=["decoder"])

    def run(self, batch: Sequence[In], params: Sequence[Params], watch: Watch = UNWATCHED) -> list[Any]:
        return [attempt(self.name, self._decode, item, param) for item, param in zip(batch, params, strict=True)]

    def _decode(self, item: In, params: Params) -> Out:
        overlap = params.overlap if params.overlap is not None else item.latents.seconds > OVERLAP_ABOVE_SECONDS
        return self.Out(Mel(self.autoencoder.decode(item.latents.array, overlap=overlap)))
