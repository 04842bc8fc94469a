"""The frozen text encoder: UMT5 and its tokenizer (spec 03 section 1), with entropy-rectified queries on request."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from acestep_flows.model.checkpoint import TOKENIZER, Checkpoint
from acestep_flows.model.layout import ALIASES, TEXT_ENCODER
from acestep_flows.model.placement import Placement

MAX_TOKENS = 256
WEAKENED_BLOCKS = (8, 9)
"""Blocks, both included, whose queries are scaled for the weak branch (spec 02 section 3.1)."""


class TextEncoder:
    """Prompts to text states. Holds no state between calls: calls may overlap."""

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, pad_id: int, weakened: tuple[int, int]) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._pad_id = pad_id
        self._weakened = weakened

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> TextEncoder:
        """Read the encoder's weights and tokenizer."""
        from transformers import UMT5Config, UMT5EncoderModel

        config = checkpoint.config(TEXT_ENCODER)
        with torch.device("meta"):
            model: Any = UMT5EncoderModel(UMT5Config(**config))
        names = set(checkpoint.shapes(TEXT_ENCODER)) - set(ALIASES)
        tensors = checkpoint.load(TEXT_ENCODER, names, dtype=placement.dtype, device=placement.device)
        tensors |= {alias: tensors[name] for alias, name in ALIASES.items()}
        model.load_state_dict(tensors, assign=True)
        tokenizer = Tokenizer.from_file(str(checkpoint.file(TEXT_ENCODER, TOKENIZER)))
        weakened = tuple(config.get("erg_blocks", WEAKENED_BLOCKS))
        return cls(model.eval().requires_grad_(False), tokenizer, config["pad_token_id"], weakened)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, prompts: Sequence[str], *, erg_temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Text states (B, L, width) and mask (B, L) of `prompts`, both fp32 on the CPU.

        Args:
            prompts: taken as they are; each is cut at 256 tokens and padded to the longest.
            weaken: factor on the self-attention queries of the middle blocks; 1 leaves them alone.
        """
        ids, mask = self.tokenize(prompts)
        states = self.states(ids, mask, erg_temperature=erg_temperature)
        return states.float().cpu(), mask.float()

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask, both (B, L) int64."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(prompts))]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [self._pad_id] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return ids, mask

    @torch.inference_mode()
    def states(
        self, ids: Tensor, mask: Tensor, *, erg_temperature: float = 1.0, blocks: tuple[int, int] | None = None
    ) -> Tensor:
        """Last hidden states (B, L, width) of token ids; `blocks`, first and last, overrides which are weakened."""
        first, last = blocks or self._weakened
        model = self.model if erg_temperature == 1.0 else _weakened(self.model, range(first, last + 1), erg_temperature)
        output = model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device))
        states: Tensor = output.last_hidden_state
        return states


def _weakened(model: nn.Module, blocks: range, factor: float) -> nn.Module:
    """A copy of `model` that shares every weight, but for the queries of `blocks`: those are `factor` times as large.

    UMT5's queries have no bias, so scaling the weight scales the projection's output. A copy of the modules costs a
    millisecond, and leaves no hook behind that another call could see.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: Any = copy.deepcopy(model, shared)
    stack = twin.encoder.block
    for index in blocks:
        if index < len(stack):
            query = stack[index].layer[0].SelfAttention.q
            query.weight = nn.Parameter(query.weight * factor, requires_grad=False)
    return twin  # type: ignore[no-any-return]
