"""Turn a mel spectrogram into a waveform (spec 04 section 5)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from acestep_flows.stages.batching import run_groups
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, StageParams, Watch
from acestep_flows.stages.decode_latents import OVERLAP_ABOVE_SECONDS, half_minutes
from acestep_flows.values import MEL_HOP, MODEL_RATE, OUTPUT_RATE, Audio, FloatArray, Mel

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement


class Vocode(Stage):
    """Turn a mel spectrogram into a waveform (ADaMoS-HiFiGAN at 44.1 kHz, each channel on its own), at 48 kHz."""

    name, version = "vocode", 2
    parts = ("music_vocoder",)
    batches_items = True

    @dataclass(frozen=True)
    class In:
        mel: Mel
        like: Audio | None = field(default=None, metadata={"description": "Cut the result to this audio's length."})

    class Params(StageParams):
        overlap: bool | None = Field(None, description="Work in overlapping blocks; absent: above 48 seconds.")
        seconds: float | None = Field(None, gt=0, description="How long the song was to be.")
        sections: list[str] = Field([], description="Further sections that were to be as long, by their lyrics.")
        exact_length: bool = Field(False, description="Cut the result to the length it was to have, to the sample.")

    @dataclass(frozen=True)
    class Out:
        audio: Audio

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.vocoder import load_vocoder

        self.vocoder = load_vocoder(checkpoint, placement)

    def run(self, batch: Sequence[In], params: Sequence[Params], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        kind: Callable[[tuple[Vocode.In, Vocode.Params]], Hashable]
        kind = _kind if self.vocoder.channels_independent else lambda song: object()  # a kind of its own for each
        return run_groups(self.name, self._vocode, list(zip(batch, params, strict=True)), kind, watch)

    def _vocode(self, songs: list[tuple[In, Params]]) -> list[Out]:
        """Songs of one kind."""
        from acestep_flows.audio.resample import LISTENING_FILTER, resample_parts

        outs = []
        for (item, params), waveform in zip(songs, self._waveforms(songs), strict=True):
            shape = len(item.mel.log_mel), item.mel.frames * MEL_HOP
            samples = resample_parts(waveform, shape, MODEL_RATE, OUTPUT_RATE, LISTENING_FILTER)
            if item.like is not None:
                samples = samples[:, : round(item.like.seconds * OUTPUT_RATE)]
            if params.exact_length and params.seconds is not None:
                samples = samples[:, : round(params.seconds * (1 + len(params.sections)) * OUTPUT_RATE)]
            outs.append(self.Out(Audio(samples, OUTPUT_RATE)))
        return outs

    def _waveforms(self, songs: Sequence[tuple[In, Params]]) -> Sequence[Iterable[FloatArray]]:
        """The waveform of each song, in consecutive parts. The channels of several songs are decoded as one stack."""
        _, overlap = _kind(songs[0])
        mels = [item.mel.log_mel for item, _ in songs]
        if len(mels) == 1:
            return [self.vocoder.parts(mels[0], overlap=overlap)]
        waveforms = np.split(self.vocoder.decode(np.concatenate(mels), overlap=overlap), len(mels))
        return [[waveform] for waveform in waveforms]

    @classmethod
    def size(cls, item: In) -> int:
        """Half minutes, begun ones included."""
        return half_minutes(_seconds(item))


def _seconds(item: Vocode.In) -> float:
    return item.mel.frames * MEL_HOP / MODEL_RATE


def _kind(song: tuple[Vocode.In, Vocode.Params]) -> tuple[int, bool]:
    """Songs of one kind share a pass: they have the same frames, and are decoded in blocks or not."""
    item, params = song
    overlap = params.overlap if params.overlap is not None else _seconds(item) > OVERLAP_ABOVE_SECONDS
    return item.mel.frames, overlap
