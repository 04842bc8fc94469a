"""Sample a song from noise, or from a reference (spec 02 sections 5.1, 5.2 and 5.6)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.diffusion import Control, DiffusionParams, DiffusionStage, latents_of
from acestep_flows.stages.own_beat import NO_BEAT, beat_notes, beat_of, beat_samples, beat_scale, beat_weights, own_beat
from acestep_flows.stages.weights_name import WeightsName
from acestep_flows.values import Latents, LyricStates, Noise, PromptStates, Report

if TYPE_CHECKING:
    from acestep_flows.model.autoencoder import Autoencoder
    from acestep_flows.model.beat_conditioning import BeatConditioning
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.sampling.branches import Branches
    from acestep_flows.sampling.trajectory import State, Trajectory
    from acestep_flows.values import FloatArray


class Sample(DiffusionStage):
    """Sample a song: text to music, a variation when the noise has one, audio to audio when given a reference."""

    name, version = "sample", 1

    def __init__(self) -> None:
        self._autoencoder: Autoencoder | None = None
        self._loading = threading.Lock()

    @dataclass(frozen=True)
    class In:
        prompt: PromptStates
        lyrics: LyricStates
        noise: Noise
        reference: Latents | None = field(default=None, metadata={"description": "Stay near these latents."})
        control: Latents | None = field(
            default=None, metadata={"description": "A track to play along with, as long as the song."}
        )

    class Params(DiffusionParams):
        strength: float = Field(0.5, ge=0, le=1, description="How much of the reference to keep; 1 is the reference.")
        control_branch: WeightsName | None = Field(
            None,
            description="Control branch that reads `control`, by name; in process also by folder.",
            json_schema_extra={"format": "path"},
        )
        control_scale: float = Field(1.0, ge=0, le=10, description="Strength of the control.")
        beat: str = Field(
            NO_BEAT,
            description="Play to a beat at the tempo of the tags, where the model is made for it: 'auto', or a pattern "
            "of the stage `beat`. 'none': no beat.",
        )

        def key_content(self) -> dict[str, Any]:
            """Without `beat`, which changes nothing for most models; `weights` tells it for the others."""
            content = super().key_content()
            del content["beat"]
            return content

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report

    @classmethod
    def weights(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """The base weights, the adapter's and the control branch's."""
        name = params.control_branch
        branch = () if name is None else (checkpoint.extra_digest("controls", name),)
        return (*super().weights(checkpoint, params), *branch, *beat_weights(checkpoint, params.beat, name))

    @classmethod
    def notes(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """That a beat was asked of a model that follows none."""
        return beat_notes(checkpoint, params.beat)

    def control_adapter(self, item: In, params: Params) -> str | None:
        own = self._own_beat(params)
        if own is None:
            return params.control_branch
        heard = item.control is not None or beat_of(item.prompt.text, params.beat, own)[0] is not None
        return own.control_branch if own.adapter and heard else None

    def _own_beat(self, params: Params) -> BeatConditioning | None:
        """How the model plays to a beat of its own; None where it does not, or where a branch was named."""
        return None if params.control_branch is not None else own_beat(self.checkpoint, params.beat)

    def branches(self, item: In, params: Params) -> Branches:
        from acestep_flows.sampling.branches import song_branches

        return song_branches(item.prompt, item.lyrics, self.options(params))

    def trajectory(self, item: In, params: Params) -> Trajectory:
        import torch

        from acestep_flows.sampling.audio2audio import audio2audio
        from acestep_flows.sampling.noise import SeededDraws, start_noise
        from acestep_flows.sampling.text2music import text2music

        noise, draws = start_noise(item.noise), SeededDraws.following(item.noise)
        if item.reference is None:
            return text2music(noise, self.options(params), draws)
        return audio2audio(torch.tensor(item.reference.array), noise, params.strength, self.options(params), draws)

    def control(self, item: In, params: Params, frames: int) -> Control:
        own = self._own_beat(params)
        if own is not None:
            return self._beat(item, params, own, frames)
        if item.control is not None and params.control_branch is None and params.beat != NO_BEAT:
            allowed = "a model that follows beats, as acestep-nano does"
            raise InputError("this model cannot follow a guide", where="guide", allowed=allowed)
        if (item.control is None) != (params.control_branch is None):
            raise InputError("a control track and a control branch belong together", where="sample.control")
        if item.control is None or params.control_branch is None:
            return Control()
        return self._heard(item.control.array, params.control_branch, params.control_scale, frames)

    def _beat(self, item: In, params: Params, own: BeatConditioning, frames: int) -> Control:
        """The user's guide, else the beat of the tags, else nothing."""
        strokes, _ = beat_of(item.prompt.text, params.beat, own)
        if item.control is not None:
            track = item.control.array
        elif strokes is not None:
            track = self._encoded(beat_samples(strokes, frames))
        else:
            return Control()
        scale = beat_scale(item.prompt.text, own) * params.control_scale
        return self._heard(track, own.control_branch, scale, frames, own.until)

    def _heard(self, track: FloatArray, name: str, scale: float, frames: int, until: float = 0.0) -> Control:
        """Latents (8, 16, T) as the control branch `name` hears them."""
        import torch

        from acestep_flows.model.control import fit_to_song

        branch = self.networks.control(self.checkpoint, name, self.placement)
        latents = fit_to_song(torch.tensor(track, device=self.placement.device), frames)
        with torch.inference_mode():
            return Control(branch(latents[None])[0], scale * float(branch.gain), until)

    def _encoded(self, samples: FloatArray) -> FloatArray:
        """Latents (8, 16, T) of samples (2, n) at 44.1 kHz."""
        from acestep_flows.model.autoencoder import Autoencoder

        with self._loading:
            if self._autoencoder is None:
                self._autoencoder = Autoencoder.load(self.checkpoint, self.placement, halves=["encoder"])
            return self._autoencoder.encode(samples)

    def finish(self, item: In, params: Params, trajectory: Trajectory, state: State) -> Out:
        latents = latents_of(trajectory, state)
        entries: dict[str, Any] = {
            "task": "text2music" if item.reference is None else "audio2audio",
            "seconds": latents.seconds,
            "steps": state.step,
            "guidance": self.guidance(params),
            "seed": item.noise.seed,
            "warnings": [*item.prompt.warnings, *item.lyrics.skipped],
        }
        own = self._own_beat(params)
        if own is not None and item.control is None:
            strokes, warnings = beat_of(item.prompt.text, params.beat, own)
            entries["warnings"] = [*entries["warnings"], *warnings]
            if strokes is not None:
                entries["beat"] = {"tempo": strokes.tempo, "control_branch": own.control_branch}
        if item.noise.retake_seed is not None:
            entries |= {"retake_seed": item.noise.retake_seed, "variance": item.noise.variance}
        return self.Out(latents, Report(entries))
