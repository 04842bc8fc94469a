"""Change lyrics or style of a song and keep its tune: FlowEdit (spec 02 section 5.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from acestep_flows.stages.diffusion import DiffusionParams, DiffusionStage, latents_of
from acestep_flows.stages.ports import Seed
from acestep_flows.values import Latents, LyricStates, PromptStates, Report, Span

if TYPE_CHECKING:
    from acestep_flows.sampling.branches import Branches
    from acestep_flows.sampling.trajectory import State, Trajectory


class Edit(DiffusionStage):
    """Change a song's lyrics and style to new ones; `minimum` and `maximum` say how much of the song is kept.

    To change only the lyrics, minimum 0.6 and maximum 1 do well; for a remix 0.2 and 0.4. Guidance method, interval,
    omega, ERG and OSS have no effect here: every step is guided by APG.
    """

    name, version = "edit", 1

    @dataclass(frozen=True)
    class In:
        source: Latents
        source_prompt: PromptStates
        source_lyrics: LyricStates
        prompt: PromptStates
        lyrics: LyricStates

    class Params(DiffusionParams):
        seed: Seed = Field(description="Seed of the noises that carry the edit.")
        minimum: float = Field(
            0.0, ge=0, le=1, description="Share of the steps, the noisiest, to skip; more keeps more of the song."
        )
        maximum: float = Field(
            1.0, ge=0, le=1, description="Share of the steps after which only the target is sampled."
        )
        averages: int = Field(1, ge=1, le=64, description="Noises averaged in each step.")

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.minimum > self.maximum:
                raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
            return self

    @dataclass(frozen=True)
    class Out:
        latents: Latents
        report: Report

    def branches(self, item: In, params: Params) -> Branches:
        from acestep_flows.sampling.branches import edit_branches

        source, target = (item.source_prompt, item.source_lyrics), (item.prompt, item.lyrics)
        return edit_branches(source, target, self.options(params))

    def trajectory(self, item: In, params: Params) -> Trajectory:
        import torch

        from acestep_flows.sampling.edit import edit
        from acestep_flows.sampling.noise import SeededDraws

        return edit(
            torch.tensor(item.source.array),
            self.options(params),
            SeededDraws(params.seed),
            minimum=params.minimum,
            maximum=params.maximum,
            averages=params.averages,
        )

    def finish(self, item: In, params: Params, trajectory: Trajectory, state: State) -> Out:
        from acestep_flows.audio import locality

        latents = latents_of(trajectory, state)
        prompts, lyrics = (item.source_prompt, item.prompt), (item.source_lyrics, item.lyrics)
        text_warnings = [line for prompt in prompts for line in prompt.warnings]
        text_warnings += [line for song in lyrics for line in song.skipped]
        entries = {
            "task": "edit",
            "seconds": latents.seconds,
            "steps": state.step,
            "guidance": self.guidance(params),
            "seed": params.seed,
            "locality": locality.latents(item.source, latents, Span(0.0, latents.seconds)).entries(),
            "warnings": list(dict.fromkeys(text_warnings)),
        }
        return self.Out(latents, Report(entries))
