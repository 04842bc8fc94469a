"""A cache for the states of a frozen text encoder.

A prompt is encoded by itself, without padding and in fp32. So its states have the same bits in every batch, cached or
not, and a resumed run, which starts with an empty cache, repeats the curve.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class TextStates:
    """States of the most recently used prompts, in memory.

    Args:
        model: the text encoder, which is not trained.
        capacity: most bytes of states in the cache; 0 caches nothing.

    Attributes:
        encoded: how many times a prompt was encoded.
    """

    def __init__(self, model: nn.Module, capacity: int) -> None:
        self._model, self._capacity = model, capacity
        self._cache: OrderedDict[bytes, Tensor] = OrderedDict()
        self._bytes = 0
        self.encoded = 0

    def of(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States (B, L, width) of token ids (B, L); zeros beyond each row's end, up to which the mask (B, L) is 1."""
        lengths = mask.sum(dim=1).tolist()
        rows = [self._row(row[: int(length)]) for row, length in zip(ids, lengths, strict=True)]
        states = rows[0].new_zeros((*ids.shape, rows[0].shape[-1]))
        for padded, row in zip(states, rows, strict=True):
            padded[: len(row)] = row
        return states.to(ids.device)

    def _row(self, ids: Tensor) -> Tensor:
        """States (length, width) of one prompt, on the CPU."""
        key = ids.cpu().numpy().tobytes()
        states = self._cache.pop(key, None)
        if states is None:
            states = self._encode(ids)
            self._bytes += states.nbytes
        self._cache[key] = states
        while self._bytes > self._capacity:
            _, oldest = self._cache.popitem(last=False)
            self._bytes -= oldest.nbytes
        return states

    @torch.no_grad()
    def _encode(self, ids: Tensor) -> Tensor:
        self.encoded += 1
        batch = ids.unsqueeze(0)
        with torch.autocast(ids.device.type, enabled=False):
            states: Tensor = self._model(batch, torch.ones_like(batch))
        return states[0].float().cpu()
