"""Bring audio into latent space (spec 04 section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from acestep_flows.errors import InputError
from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.values import MAX_SECONDS, MODEL_RATE, SAMPLES_PER_FRAME, Audio, Latents

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement

MAX_FRAMES = 2584
"""The training maximum; encoding rounds up, so 240 s of audio are 2584 frames (spec 01 section 2)."""


def frames_of(audio: Audio) -> int:
    """How many latent frames the audio becomes. Begun frames count."""
    samples = -(-int(audio.samples.shape[1]) * MODEL_RATE // audio.sample_rate)  # as resampling gives
    return -(-(samples - _excess(samples)) // SAMPLES_PER_FRAME)


def _excess(samples: int) -> int:
    """A sample from rounding on the way to 48 kHz and back, which would make one more frame, of silence."""
    return int(samples > 1 and samples % SAMPLES_PER_FRAME == 1)


class EncodeAudio(ItemStage):
    """Encode a recording: any rate, mono or more channels (the first two count), up to 240 seconds."""

    name, version = "encode_audio", 1
    parts = ("music_dcae_f8c8", "music_vocoder")

    @dataclass(frozen=True)
    class In:
        audio: Audio

    class Params(StageParams):
        pass

    @dataclass(frozen=True)
    class Out:
        latents: Latents

    def load(self, checkpoint: Checkpoint, placement: Placement) -> None:
        from acestep_flows.model.autoencoder import Autoencoder

        self.autoencoder = Autoencoder.load(checkpoint, placement, halves=["encoder"])

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.audio.resample import resample, stereo

        samples = resample(stereo(item.audio).samples, item.audio.sample_rate, MODEL_RATE)
        samples = samples[:, : samples.shape[1] - _excess(samples.shape[1])]
        frames = -(-samples.shape[1] // SAMPLES_PER_FRAME)
        if frames < 1:
            raise InputError(
                "no samples", where="encode_audio.audio", allowed=f"at least one sample, up to {MAX_SECONDS:.0f} s"
            )
        if frames > MAX_FRAMES:
            raise InputError(
                f"{item.audio.seconds:.2f} s",
                where="encode_audio.audio",
                allowed=f"up to {MAX_SECONDS:.0f} s; trim it first",
            )
        return self.Out(Latents(self.autoencoder.encode(samples)))
