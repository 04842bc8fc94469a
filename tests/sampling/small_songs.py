"""A small random network, and songs of every task, length and step count for it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.audio2audio import audio2audio
from acestep_flows.sampling.denoiser import TransformerDenoiser, encode_conditions
from acestep_flows.sampling.edit import edit
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.noise import SeededDraws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import repaint
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import BranchName, State, Trajectory
from acestep_flows.stages.diffusion import DenoisingSong
from tests.sampling.test_denoiser import CONFIG, branch_of
from tests.sampling.toy import extended, noise_of, song_of

BRANCHES: tuple[BranchName, ...] = (
    "conditional", "null", "text_only", "source", "source_null", "target", "target_null",
)  # fmt: skip
TASKS = ("text2music", "audio2audio", "repaint", "extend", "edit")
TOLERANCE = 1e-5


@cache
def networks(adapter: bool = False) -> tuple[Transformer, ConditionProjector]:
    """The network, or a twin with other numbers in one layer, as an adapter makes it."""
    if adapter:
        transformer, projector = networks()
        twin = copy.deepcopy(transformer)
        twin.blocks[0].ff.point_conv.conv.weight.mul_(1.5)
        return twin, projector
    torch.manual_seed(0)
    return Transformer(CONFIG).eval().requires_grad_(False), ConditionProjector(CONFIG).eval().requires_grad_(False)


@dataclass(frozen=True)
class Order:
    """What a song is made by.

    Attributes:
        arrival: milliseconds after which it is asked for.
    """

    task: str = "text2music"
    frames: int = 8
    seed: int = 3
    options: dict[str, Any] = field(default_factory=lambda: {"steps": 3})
    adapter: bool = False
    controlled: bool = False
    arrival: float = 0.0

    def trajectory(self) -> Trajectory:
        options = SamplerOptions.model_validate(self.options)
        frames, seed = self.frames, self.seed
        noise, draws = noise_of(seed, frames), SeededDraws(seed, after=frames)
        source = song_of(seed + 1, frames)
        if self.task == "text2music":
            return text2music(noise, options, draws)
        if self.task == "audio2audio":
            return audio2audio(source, noise, 0.3, options, draws)
        if self.task == "repaint":
            return repaint(source, noise, noise_of(seed + 2, frames), (1, frames - 1), 0.7, options, draws)
        if self.task == "extend":
            return extended(2, 3, options, frames)
        return edit(source, options, SeededDraws(seed), minimum=0.2, maximum=0.6, averages=2)

    def song(self) -> DenoisingSong:
        transformer, projector = networks(self.adapter)
        branches = {name: branch_of(self.seed + index, 3 + index) for index, name in enumerate(BRANCHES)}
        trajectory = self.trajectory()
        control: Tensor | None = None
        if self.controlled:
            generator = torch.Generator().manual_seed(self.seed)
            control = torch.randn(trajectory.frames, CONFIG.width, generator=generator)
        return DenoisingSong(
            trajectory,
            TransformerDenoiser(transformer, encode_conditions(transformer, projector, branches), control, 0.3),
        )

    def but(self, **changes: Any) -> Order:
        return replace(self, **changes)


def alone(song: DenoisingSong) -> State:
    """The last state of the song, denoised alone."""
    return denoise(song.trajectory, song.denoise)


def assert_same(got: State, want: State) -> None:
    """Equal but for the rounding of other batch shapes."""
    assert got.step == want.step
    torch.testing.assert_close(got.latents, want.latents, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(got.preview, want.preview, atol=TOLERANCE, rtol=0)


ORDERS = st.builds(
    Order,
    task=st.sampled_from(TASKS),
    frames=st.integers(3, 24),
    seed=st.integers(0, 1000),
    options=st.fixed_dictionaries(
        {
            "steps": st.integers(1, 5),
            "solver": st.sampled_from(("euler", "heun", "pingpong")),
            "guidance": st.sampled_from(("apg", "cfg", "cfg_star")),
            "guidance_scale": st.sampled_from((1.0, 7.0)),
            "guidance_interval": st.sampled_from((0.5, 1.0)),
            "guidance_scale_text": st.sampled_from((0.0, 3.0)),
            "guidance_scale_lyric": st.just(2.0),
        }
    ),
    adapter=st.booleans(),
    controlled=st.booleans(),
    arrival=st.floats(0, 20),
)


def underway(order: Order, state: State | None = None) -> ActiveSong:
    """The song of an order, ready for its next step."""
    song = order.song()
    return ActiveSong.begin(song.trajectory, song.denoise, state)
