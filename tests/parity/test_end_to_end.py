"""Prompt and lyrics to waveform, with nothing taken from the reference but the words, the options and the seeds."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from acestep_flows.audio.resample import resample
from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import TextEncoder
from acestep_flows.model.vocoder import Vocoder
from acestep_flows.sampling.branches import Branches, song_branches
from acestep_flows.sampling.guidance import ERG_TEMPERATURE
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.noise import SeededDraws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.text2music import text2music
from acestep_flows.text.lyrics import LyricTokenizer
from acestep_flows.values import MODEL_RATE, OUTPUT_RATE, PromptStates, frames_from_seconds
from tests.parity.reference import Case, Reference
from tests.parity.sampled import GroupDenoiser, Network, options_of, seeded_noise

GOLDEN = "end_to_end.safetensors"


class Pipeline(NamedTuple):
    text_encoder: TextEncoder
    tokenizer: LyricTokenizer
    network: Network
    autoencoder: Autoencoder
    vocoder: Vocoder

    def conditions(self, prompt: str, lyrics: str, options: SamplerOptions) -> Branches:
        states, mask = self.text_encoder.encode([prompt])
        weak, _ = self.text_encoder.encode([prompt], erg_temperature=ERG_TEMPERATURE)
        words = self.tokenizer.encode(lyrics, compatibility=options.compatibility)
        encoded = self.network.lyrics(torch.from_numpy(words.ids), torch.from_numpy(words.mask))
        return song_branches(
            PromptStates(prompt, states[0].numpy(), weak[0].numpy(), mask[0].numpy()), encoded, options
        )


@pytest.fixture(scope="module")
def pipeline(reference: Reference) -> Pipeline:
    checkpoint, placement = Checkpoint.open(reference.checkpoint), Placement()
    return Pipeline(
        TextEncoder.load(checkpoint, placement),
        LyricTokenizer(reference.lyric_vocab),
        Network.load(reference),
        Autoencoder.load(checkpoint, placement),
        Vocoder.load(checkpoint, placement),
    )


def test_end_to_end(case: Case, pipeline: Pipeline) -> None:
    params, options = case.params, options_of(case)
    if "task" in params or not set(case.inputs) <= {"noise", "pingpong_step_noise"}:
        case.unknown()
    frames, seeds = frames_from_seconds(params["audio_duration"]), params["actual_seeds"]
    noise = seeded_noise(seeds, frames)
    assert torch.equal(noise, case.inputs["noise"])

    branches = pipeline.conditions(params["prompt"], params["lyrics"], options)
    denoiser = GroupDenoiser.of(pipeline.network, [branches] * len(seeds))
    latents = denoise(text2music(noise, options, SeededDraws(seeds[0], after=frames)), denoiser).latents
    case.assert_close("latents", latents)

    waveforms = [pipeline.vocoder.decode(pipeline.autoencoder.decode(song.numpy())) for song in latents]
    songs = [torch.from_numpy(resample(waveform, MODEL_RATE, OUTPUT_RATE)) for waveform in waveforms]
    case.assert_close(f"wav_{OUTPUT_RATE}", torch.stack(songs))
