"""Whole sampling runs of the original, turned into trajectories.

The original samples a batch of songs together, and its songs touch: one mean over all of them, one generator for the
noise of all. The product has single songs only, so what couples a batch is put together here: latents with a leading
song axis through the same trajectories in `upstream` compatibility, and a denoiser that answers song by song.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.audio2audio import audio2audio
from acestep_flows.sampling.branches import Branches, edit_branches, song_branches
from acestep_flows.sampling.denoiser import Denoiser, DenoiserRow, QueryRow, encode_conditions, predict_velocities
from acestep_flows.sampling.edit import edit
from acestep_flows.sampling.extend import extend, pads
from acestep_flows.sampling.guidance import ERG_TEMPERATURE
from acestep_flows.sampling.noise import Draws, RecordedDraws, SeededDraws, draw, mixed
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import repaint
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import BranchName, Trajectory
from acestep_flows.values import LyricStates, PromptStates, frames_from_seconds
from tests.parity.reference import Case, Reference

NAMES = {
    "infer_step": "steps",
    "scheduler_type": "solver",
    "cfg_type": "guidance",
    "guidance_scale": "guidance_scale",
    "guidance_interval": "guidance_interval",
    "guidance_interval_decay": "guidance_decay",
    "min_guidance_scale": "guidance_minimum",
    "guidance_scale_text": "guidance_scale_text",
    "guidance_scale_lyric": "guidance_scale_lyric",
    "omega_scale": "omega",
    "use_erg_tag": "erg_tag",
    "use_erg_lyric": "erg_lyric",
    "use_erg_diffusion": "erg_diffusion",
}
"""The original's argument names and ours."""

ELSEWHERE = {
    "task", "prompt", "lyrics", "audio_duration", "batch_size", "oss_steps",
    "manual_seeds", "retake_seeds", "actual_seeds", "actual_retake_seeds",
    "retake_variance", "src_audio_path", "repaint_start", "repaint_end",
    "edit_target_prompt", "edit_target_lyrics", "edit_n_min", "edit_n_max", "edit_n_avg",
    "audio2audio_enable", "ref_audio_input", "ref_audio_strength",
}  # fmt: skip
"""Arguments that are no options of the sampler but are read below, or are inputs that the case holds encoded."""


def options_of(case: Case) -> SamplerOptions:
    params = case.params
    if set(params) - set(NAMES) - ELSEWHERE:
        case.unknown()
    chosen: dict[str, Any] = {ours: params[theirs] for theirs, ours in NAMES.items() if theirs in params}
    if params.get("oss_steps"):
        chosen["oss_steps"] = tuple(int(index) for index in params["oss_steps"].split(","))
    return SamplerOptions.model_validate({**chosen, "compatibility": "upstream"})


def recorded_draws(case: Case) -> Draws:
    """The noise that the case stores for the way; a case without has none to draw."""
    for name in ("pingpong_step_noise", "flowedit_noise"):
        if name in case.inputs:
            return RecordedDraws(case.inputs[name])
    return RecordedDraws(torch.empty(0))


def trajectory_of(case: Case) -> Trajectory:
    """The run of `case`, its songs on a leading axis."""
    params, inputs, options, draws = case.params, case.inputs, options_of(case), recorded_draws(case)
    variance = params.get("retake_variance", 0.5)
    task = "audio2audio" if params.get("audio2audio_enable") else params.get("task", "text2music")
    if task == "text2music":
        return text2music(inputs["noise"], options, draws)
    if task == "retake":
        return text2music(mixed(inputs["noise"], inputs["retake_noise"], variance), options, draws)
    if task == "audio2audio":
        return audio2audio(inputs["ref_latents"], inputs["noise"], params["ref_audio_strength"], options, draws)
    if task == "edit":
        shares = {
            ours: params[theirs]
            for theirs, ours in (("edit_n_min", "minimum"), ("edit_n_max", "maximum"), ("edit_n_avg", "averages"))
            if theirs in params
        }
        return edit(inputs["src_latents"], options, draws, **shares)
    if task not in ("repaint", "extend"):
        case.unknown()
    source, noise, retake = inputs["src_latents"], inputs["noise"], inputs["retake_noise"]
    span = frames_from_seconds(params["repaint_start"]), frames_from_seconds(params["repaint_end"])
    if span[0] >= 0 and span[1] <= source.shape[-1]:
        return repaint(source, noise, retake, span, variance, options, draws)
    sides = pads(*span, source.shape[-1], options.compatibility)
    return extend(source, noise, retake, *sides, options, draws, variance)


@dataclass(frozen=True)
class Network:
    """The tiny checkpoint's transformer with what makes its conditions."""

    transformer: Transformer
    projector: ConditionProjector
    lyric_encoder: LyricEncoder

    @classmethod
    def load(cls, reference: Reference) -> Network:
        checkpoint, placement = Checkpoint.open(reference.checkpoint), Placement()
        return cls(
            Transformer.load(checkpoint, placement),
            ConditionProjector.load(checkpoint, placement),
            LyricEncoder.load(checkpoint, placement),
        )

    @torch.inference_mode()
    def lyrics(self, ids: Tensor, mask: Tensor) -> LyricStates:
        """The lyrics of one song, (L,) each, in the three forms."""
        ids_, mask_ = ids.unsqueeze(0), mask.unsqueeze(0)
        states = self.lyric_encoder(ids_, mask_)[0]
        weak = self.lyric_encoder(ids_, mask_, erg_temperature=ERG_TEMPERATURE)[0]
        blank = self.lyric_encoder(torch.zeros_like(ids_), mask_)[0]
        return LyricStates("", ids.numpy(), mask.numpy(), states.numpy(), weak.numpy(), blank.numpy())

    def stored_conditions(self, case: Case) -> list[Branches]:
        """The conditions that a case stores, song by song."""
        return [self._conditions(case, song) for song in range(len(case.inputs["lyric_token_ids"]))]

    def _conditions(self, case: Case, song: int) -> Branches:
        options, inputs = options_of(case), {name: tensor[song] for name, tensor in conditions(case).items()}
        text, mask = inputs["encoder_text_hidden_states"], inputs["text_attention_mask"]
        weak = inputs.get("encoder_text_hidden_states_null", torch.zeros_like(text))
        prompt = PromptStates("", text.numpy(), weak.numpy(), mask.numpy())
        lyrics = self.lyrics(inputs["lyric_token_ids"], inputs["lyric_mask"])
        if "target_lyric_token_ids" not in inputs:
            return song_branches(prompt, lyrics, options)
        text, mask = inputs["target_encoder_text_hidden_states"], inputs["target_text_attention_mask"]
        target = PromptStates("", text.numpy(), torch.zeros_like(text).numpy(), mask.numpy())
        words = self.lyrics(inputs["target_lyric_token_ids"], inputs["target_lyric_mask"])
        return edit_branches((prompt, lyrics), (target, words), options)


def conditions(case: Case) -> dict[str, Tensor]:
    """The encoded prompts and lyrics that a case stores, with their leading song axis."""
    stored = {}
    for name in case.inputs:
        if name in ("speaker_embds", "target_speaker_embeds"):
            assert not case.inputs[name].any(), f"{case}: {name} is not zero; the product has no speakers"
        elif "text" in name or "lyric" in name:
            stored[name] = case.inputs[name]
    return stored


@dataclass(frozen=True, eq=False)
class GroupDenoiser(Denoiser):
    """Answers queries whose latents carry a leading song axis, each song under its own conditions."""

    transformer: Transformer
    memories: Sequence[Mapping[BranchName, EncodedConditions]]

    @classmethod
    def of(cls, network: Network, songs: Sequence[Branches]) -> GroupDenoiser:
        memories = [encode_conditions(network.transformer, network.projector, branches) for branches in songs]
        return cls(network.transformer, memories)

    def predict(self, rows: Sequence[QueryRow]) -> list[Tensor]:
        song_rows = [
            DenoiserRow(replace(row.query, latents=latents), memory[row.query.branch])
            for row in rows
            for latents, memory in zip(row.query.latents, self.memories, strict=True)
        ]
        velocities = predict_velocities(self.transformer, song_rows)
        songs = len(self.memories)
        return [torch.stack(velocities[i : i + songs]) for i in range(0, len(velocities), songs)]


def seeded_noise(seeds: Sequence[int], frames: int) -> Tensor:
    """The start noise of a batch: each song's from its own generator."""
    return torch.stack([torch.from_numpy(draw(seed, frames)) for seed in seeds])


def seeded_draws(case: Case) -> Draws:
    """What a batch draws on its way, from its first song's generator."""
    if case.params.get("task") == "edit":
        return SeededDraws(case.params["actual_retake_seeds"][0])
    return SeededDraws(case.params["actual_seeds"][0], after=case.inputs["noise"].shape[-1])
