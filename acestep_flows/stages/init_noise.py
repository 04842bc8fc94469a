"""Draw the start noise of a song from its seed (spec 02 section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field

from acestep_flows.errors import InputError
from acestep_flows.stages.batching import ItemStage
from acestep_flows.stages.contract import StageParams
from acestep_flows.stages.lengths import frames_to_make, length_warning
from acestep_flows.stages.ports import Seed
from acestep_flows.values import MAX_SECONDS, MAX_SEED, Latents, Noise


class InitNoise(ItemStage):
    """Draw noise for a new song, or for a variation. A seed gives the same noise on every machine.

    With a variance, noise of a second seed is also drawn; the sampler turns the first towards it.
    """

    name, version = "init_noise", 1

    @dataclass(frozen=True)
    class In:
        like: Latents | None = field(default=None, metadata={"description": "Take the length from these latents."})

    class Params(StageParams):
        seed: Seed = Field(description="Which song: 0 to 2^32-1.")
        duration: float | None = Field(None, gt=0, le=MAX_SECONDS, description="Length of the song in seconds.")
        variance: float = Field(0.0, ge=0, le=1, description="0: noise of `seed` only; 1: noise of `retake_seed` only.")
        retake_seed: Seed | None = Field(None, description="Second seed of a variation; absent: seed + 1.")
        exact_length: bool = Field(
            False,
            description="Draw a frame more where whole frames fall short, to cut the song to the sample; another song.",
        )
        added_later = frozenset({"exact_length"})

    @dataclass(frozen=True)
    class Out:
        noise: Noise

    @classmethod
    def warnings(cls, params: Params) -> tuple[str, ...]:
        warning = None if params.duration is None else length_warning(params.duration, params.exact_length)
        return () if warning is None else (warning,)

    def run_one(self, item: In, params: Params) -> Out:
        from acestep_flows.sampling.noise import draw

        if (item.like is None) == (params.duration is None):
            raise InputError("needs either a length in seconds or latents to be like", where="init_noise.duration")
        asked = params.duration or 0.0
        frames = item.like.frames if item.like is not None else frames_to_make(asked, params.exact_length)
        if frames < 1:
            raise InputError(f"{params.duration} s", where="init_noise.duration", allowed=f"0.1 to {MAX_SECONDS:.0f} s")
        if params.variance == 0.0 and params.retake_seed is None:
            return self.Out(Noise(draw(params.seed, frames), params.seed))
        retake = params.retake_seed if params.retake_seed is not None else (params.seed + 1) % (MAX_SEED + 1)
        return self.Out(Noise(draw(params.seed, frames), params.seed, draw(retake, frames), retake, params.variance))
