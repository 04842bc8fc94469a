"""What a user may choose about sampling (spec 02 section 6). Importing this needs no torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from acestep_flows.values import Compatibility

Solver = Literal["euler", "heun", "pingpong"]
GuidanceKind = Literal["apg", "cfg", "cfg_star"]

METHOD = "Guidance method: how the prediction is pushed towards prompt and lyrics."
STRENGTH = "Guidance strength; 0 and 1 switch guidance off."
SHARE = "Share of the steps, in the middle, that is guided."
TAG = "Guide away from a weakened prompt instead of an empty one."
LYRIC = "Guide away from weakened lyrics instead of empty ones."
DIFFUSION = "Weaken the conditions inside the network when guiding away."


def _default(published: str) -> str:
    return f"Default: from the model's config (published model: {published})."


class StepOptions(BaseModel):
    """Choices that mean the same for every model."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(60, ge=1, le=200, description="Steps from noise to song; 27 is the fast setting.")
    solver: Solver = Field("euler", description="How a step is made; heun asks the network twice per step.")
    guidance_decay: float = Field(0.0, ge=0, le=1, description="How far the scale falls towards the minimum.")
    guidance_minimum: float = Field(3.0, ge=0, le=200, description="The scale that full decay ends at.")
    guidance_scale_text: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Guidance scale for the prompt; used only if both text and lyric scales are above 1.",
    )
    guidance_scale_lyric: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Guidance scale for the lyrics; used only if both text and lyric scales are above 1.",
    )
    omega: float = Field(10.0, ge=-100, le=100, description="Granularity: above 0 sharpens, below 0 smooths.")
    oss_steps: tuple[int, ...] | None = Field(
        None, description="Steps to keep, rising numbers from 1; the last one is the number of steps picked from."
    )
    compatibility: Compatibility = Field("corrected", description="upstream repeats the original's known defects.")

    @field_validator("oss_steps")
    @classmethod
    def _rising(cls, picked: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if picked is None:
            return None
        if not picked or picked[0] < 1 or picked[-1] > 1000 or any(b <= a for a, b in pairwise(picked)):
            raise ValueError(f"rising step numbers from 1 to 1000, not {list(picked)!r:.80}")
        return picked


class GuidanceChoices(BaseModel):
    """Choices with a best value per model. None: the value in the model's config, else the published one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    guidance: GuidanceKind | None = Field(None, description=f"{METHOD} {_default('apg')}")
    guidance_scale: float | None = Field(None, ge=0, le=30, description=f"{STRENGTH} {_default('15')}")
    guidance_interval: float | None = Field(None, ge=0, le=1, description=f"{SHARE} {_default('0.5')}")
    erg_tag: bool | None = Field(None, description=f"{TAG} {_default('true')}")
    erg_lyric: bool | None = Field(None, description=f"{LYRIC} {_default('true')}")
    erg_diffusion: bool | None = Field(None, description=f"{DIFFUSION} {_default('true')}")


class SamplerOptions(StepOptions):
    """Choices that hold for every step of a song, whatever the task; the defaults are those of the published model."""

    guidance: GuidanceKind = Field("apg", description=METHOD)
    guidance_scale: float = Field(15.0, ge=0, le=30, description=STRENGTH)
    guidance_interval: float = Field(0.5, ge=0, le=1, description=SHARE)
    erg_tag: bool = Field(True, description=TAG)
    erg_lyric: bool = Field(True, description=LYRIC)
    erg_diffusion: bool = Field(True, description=DIFFUSION)

    @property
    def guided(self) -> bool:
        """Guidance is off at exactly 0 and 1."""
        return self.guidance_scale not in (0.0, 1.0)

    @property
    def double_condition(self) -> bool:
        """Prompt and lyrics each have a scale of their own, which replaces `guidance` and `guidance_scale`."""
        return self.guided and self.guidance_scale_text > 1 and self.guidance_scale_lyric > 1
