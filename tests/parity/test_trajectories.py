"""Whole sampling runs: final latents of every task, and the noise that they draw from their seeds."""

from __future__ import annotations

import pytest
import torch

from acestep_flows.sampling.loop import denoise
from tests.parity.reference import Case, Reference
from tests.parity.sampled import GroupDenoiser, Network, seeded_draws, seeded_noise, trajectory_of

GOLDEN = "trajectories.safetensors"


@pytest.fixture(scope="module")
def network(reference: Reference) -> Network:
    return Network.load(reference)


def test_trajectories(case: Case, network: Network) -> None:
    denoiser = GroupDenoiser.of(network, network.stored_conditions(case))
    final = denoise(trajectory_of(case), denoiser)
    case.assert_close("latents", final.latents)


def test_stored_noise_follows_from_the_seeds(case: Case) -> None:
    for name in case.outputs:
        case.leave_out(name, "compared in test_trajectories")
    inputs, params = case.inputs, case.params
    for name, seeds in (("noise", "actual_seeds"), ("retake_noise", "actual_retake_seeds")):
        if name in inputs:
            frames = inputs[name].shape[-1]
            assert torch.equal(seeded_noise(params[seeds], frames), inputs[name])

    recorded = [inputs[name] for name in ("pingpong_step_noise", "flowedit_noise") if name in inputs]
    if not recorded or params.get("audio2audio_enable"):  # drawn into another memory layout there (spec 02 section 2)
        return
    draws = seeded_draws(case)
    position = draws.start()
    for noise in recorded[0]:
        drawn, position = draws.draw(position, noise.shape)
        assert torch.equal(drawn, noise)
