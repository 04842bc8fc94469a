"""Sample a song from noise, or from a reference (spec 02 sections 5.1, 5.2 and 5.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.diffusion import DiffusionParams, DiffusionStage, latents_of
from acestep_flows.stages.weights_name import WeightsName
from acestep_flows.values import Latents, LyricStates, Noise, PromptStates, Report

if TYPE_CHECKING:
    from torch import Tensor

    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.sampling.branches import Branches
    from acestep_flows.sampling.trajectory import State, Trajectory


class Sample(DiffusionStage):
    """Sample a song: text to music, a variation when the noise has one, audio to audio when given a reference."""

    name, version = "sample", 1

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

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report

    @classmethod
    def weights(cls, checkpoint: Checkpoint, params: Any) -> tuple[str, ...]:
        """The base weights, the adapter's and the control branch's."""
        name = params.control_branch
        branch = () if name is None else (checkpoint.extra_digest("controls", name),)
        return (*super().weights(checkpoint, params), *branch)

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

    def control(self, item: In, params: Params, frames: int) -> tuple[Tensor | None, float]:
        if (item.control is None) != (params.control_branch is None):
            raise InputError("a control track and a control branch belong together", where="sample.control")
        if item.control is None or params.control_branch is None:
            return None, 1.0
        import torch

        from acestep_flows.model.control import fit_to_song

        branch = self.networks.control(self.checkpoint, params.control_branch, self.placement)
        latents = fit_to_song(torch.tensor(item.control.array, device=self.placement.device), frames)
        with torch.inference_mode():
            return branch(latents[None])[0], params.control_scale * float(branch.gain)

    def finish(self, item: In, params: Params, trajectory: Trajectory, state: State) -> Out:
        latents = latents_of(trajectory, state)
        entries = {
            "task": "text2music" if item.reference is None else "audio2audio",
            "seconds": latents.seconds,
            "steps": state.step,
            "guidance": self.guidance(params),
            "seed": item.noise.seed,
            "warnings": [*item.prompt.warnings, *item.lyrics.skipped],
        }
        if item.noise.retake_seed is not None:
            entries |= {"retake_seed": item.noise.retake_seed, "variance": item.noise.variance}
        return self.Out(latents, Report(entries))
