"""Seeds to noise, bit for bit."""

from __future__ import annotations

import torch

from acestep_flows.sampling.noise import SeededDraws, draw, parse_seeds
from tests.parity.reference import Case

GOLDEN = "seeded.safetensors"


def test_seeded(case: Case) -> None:
    params = case.params
    if not {"manual_seeds", "batch_size", "shape", "next_shape"} <= set(params):
        case.unknown()
    seeds = parse_seeds(params["manual_seeds"], params["batch_size"])
    assert seeds == params["actual_seeds"]

    frames, later = params["shape"][-1], params["next_shape"][1:]
    case.assert_equal("noise", torch.stack([torch.from_numpy(draw(seed, frames)) for seed in seeds]))
    streams = [SeededDraws(seed, after=frames) for seed in seeds]
    case.assert_equal("next_noise", torch.stack([stream.draw(stream.start(), later)[0] for stream in streams]))
