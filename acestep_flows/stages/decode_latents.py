"""Decode latents to a mel spectrogram (spec 04 section 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.stages.batching import run_groups
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.values import Latents, Mel

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement

OVERLAP_ABOVE_SECONDS = 48.0
"""Longer songs are decoded in overlapping windows by default, so that memory stays bounded."""


class DecodeLatents(Stage):
    """Decode latents to a stereo log-mel spectrogram with the autoencoder's decoder."""

    name, version = "decode_latents", 1
    parts = ("music_dcae_f8c8",)
    batches_items = True

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

    def run(self, batch: Sequence[In], params: Sequence[Params], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return run_groups(self.name, self._decode, list(zip(batch, params, strict=True)), _kind, watch)

    def _decode(self, songs: list[tuple[In, Params]]) -> list[Out]:
        """Songs of one kind."""
        _, overlap = _kind(songs[0])
        mels = self.autoencoder.decode_batch([item.latents.array for item, _ in songs], overlap=overlap)
        return [self.Out(Mel(mel)) for mel in mels]

    @classmethod
    def size(cls, item: In) -> int:
        """Half minutes, begun ones included."""
        return half_minutes(item.latents.seconds)


def _kind(song: tuple[DecodeLatents.In, DecodeLatents.Params]) -> tuple[int, bool]:
    """Songs of one kind share a pass: they have the same frames, and are decoded in windows or not."""
    item, params = song
    overlap = params.overlap if params.overlap is not None else item.latents.seconds > OVERLAP_ABOVE_SECONDS
    return item.latents.frames, overlap


def half_minutes(seconds: float) -> int:
    """Number of half minutes, begun ones included. Rounded first, as a song of 30 s lasts a fraction longer."""
    return max(1, math.ceil(round(seconds, 1) / 30))
