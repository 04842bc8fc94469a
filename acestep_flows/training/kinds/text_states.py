"""What a frozen text encoder makes of prompts, made once and kept.

A prompt is encoded by itself, without padding and in fp32. So its states are the same bits whichever batch it is in,
whether they are kept or made anew, and a resumed run, which begins with nothing kept, repeats the curve.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class TextStates:
    """The states of the prompts that were asked for last, in memory.

    Args:
        model: the encoder, which is not trained.
        capacity: bytes of states that are kept; 0: none.
    """

    def __init__(self, model: nn.Module, capacity: int) -> None:
        self._model, self._capacity = model, capacity
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._bytes = 0
        self.encoded = 0
        """How many times a prompt was encoded."""

    def of(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States (B, L, width) of token ids (B, L), zeros beyond a row's end; mask (B, L) is 1 up to there."""
        lengths = mask.sum(dim=1).tolist()
        rows = [self._row(row[: int(length)]) for row, length in zip(ids, lengths, strict=True)]
        states = rows[0].new_zeros((*ids.shape, rows[0].shape[-1]))
        for place, row in zip(states, rows, strict=True):
            place[: len(row)] = row
        return states.to(ids.device)

    def _row(self, ids: Tensor) -> Tensor:
        """States (length, width) of one prompt, on the CPU where they are kept."""
        key = ids.cpu().numpy().tobytes()
        states = self._kept.pop(key, None)
        if states is None:
            states = self._encode(ids)
            self._bytes += states.nbytes
        self._kept[key] = states
        while self._bytes > self._capacity:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return states

    @torch.no_grad()
    def _encode(self, ids: Tensor) -> Tensor:
        self.encoded += 1
        alone = ids.unsqueeze(0)
        with torch.autocast(ids.device.type, enabled=False):
            states: Tensor = self._model(input_ids=alone, attention_mask=torch.ones_like(alone)).last_hidden_state
        return states[0].float().cpu()
