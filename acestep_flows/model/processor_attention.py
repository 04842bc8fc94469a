"""Softmax attention of one song on a processor: torch's fused kernel, or two products with a softmax between them.

In fp32 the fused kernel is the faster one. In bf16 it depends on the processor, so both are timed once on a machine.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from acestep_flows.model.kept_choice import choose
from acestep_flows.model.timing import by_turns

MARGIN = 1.2
"""How many times as fast the two products must be to be chosen."""
TOKENS, CONDITION, HEADS, CHANNELS = 256, 128, 8, 64
FUSED, APART = "fused", "apart"


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention of one song: queries (T, H, d), keys and values (H, S, d) to (T, D)."""
    q = q.transpose(0, 1)
    apart = q.dtype == torch.bfloat16 and not torch.compiler.is_compiling() and _is_apart()
    y = _apart(q, k, v, scale) if apart else _fused(q, k, v, scale)
    return y.transpose(0, 1).flatten(1)


def _fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return F.scaled_dot_product_attention(q[None], k[None], v[None], scale=scale)[0]


def _apart(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    scores = torch.baddbmm(q.new_empty(()), q, k.mT, beta=0, alpha=scale)
    return scores.softmax(-1) @ v


def _is_apart() -> bool:
    return choose("attention-bfloat16", (FUSED, APART), _faster) == APART


@lru_cache(maxsize=1)
def _faster() -> str:
    with torch.inference_mode():
        q, k, v = (
            torch.full((HEADS, length, CHANNELS), 0.1, dtype=torch.bfloat16)
            for length in (TOKENS, CONDITION, CONDITION)
        )
        fused, apart = by_turns(lambda: _fused(q, k, v, 0.1), lambda: _apart(q, k, v, 0.1))
    return APART if fused > MARGIN * apart else FUSED
