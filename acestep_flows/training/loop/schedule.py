"""Functions of a step's number alone: the learning rate and the random seed."""

from __future__ import annotations

import hashlib
import json
import math

from acestep_flows.training.loop.recipe import LoopSettings


def step_seed(seed: int, index: int) -> int:
    """The seed of torch's generators for batch `index` of a run with `seed`."""
    return int.from_bytes(hashlib.sha256(json.dumps([seed, index]).encode()).digest()[:7])


def learning_rate(settings: LoopSettings, step: int) -> float:
    """The learning rate of `step`, counted from 0. With a warm-up, step 0 has rate 0 (spec 05 section 3)."""
    peak, warmup, steps = settings.learning_rate, settings.warmup, settings.steps
    if step < warmup:
        return peak * step / warmup
    match settings.schedule:
        case "constant":
            return peak
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup))))
        case "linear":
            return peak * max(0.0, (steps - step) / (steps - warmup))
        case "constant_then_decay":
            tail = max(1.0, settings.decay_share * steps)
            return peak * min(1.0, max(0.0, (steps - step) / tail))
