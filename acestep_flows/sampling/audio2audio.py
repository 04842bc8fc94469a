"""A new song that stays near a reference: start from the reference under some noise (spec 02 section 5.6).

The schedule shifts the start level a second time, so the timestep names more noise than there is. The published
strengths are calibrated to this, so it is kept.
"""

from __future__ import annotations

from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.sampling.guidance import Guidance
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import even_schedule, named_steps, reduced_steps, training_sigmas
from acestep_flows.sampling.solver import make_solver
from acestep_flows.sampling.text2music import Denoising
from acestep_flows.sampling.trajectory import noised


def audio2audio(reference: Tensor, noise: Tensor, strength: float, options: SamplerOptions, draws: Draws) -> Denoising:
    """A song near `reference` (8, 16, T).

    Args:
        noise: (8, 16, T).
        strength: 0 keeps nothing of the reference, 1 is the reference.
        draws: the noise of pingpong's steps.

    Raises:
        InputError: strength outside 0..1, or noise of another length.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"{strength}", where="strength", allowed="0 to 1")
    if noise.shape[-1] != reference.shape[-1]:
        raise InputError(f"{noise.shape[-1]} frames", where="noise", allowed=f"{reference.shape[-1]}, as the reference")
    reference = reference.expand_as(noise)
    sigma_cap = 1 - strength
    schedule = even_schedule(reduced_steps(named_steps(options, options.steps), sigma_cap), sigma_cap)
    origin = noised(reference, noise, float(training_sigmas(sigma_cap)[0]))
    if schedule.steps == 0 and options.compatibility == "corrected":
        origin = reference
    return Denoising(origin, reference, make_solver(options, schedule, draws), Guidance(options, schedule.steps))
