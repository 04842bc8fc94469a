"""The frozen text encoder: UMT5 and its tokenizer (spec 03 section 1), with ERG on request (spec 02 section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from acestep_flows.model.checkpoint import TOKENIZER, Checkpoint
from acestep_flows.model.layout import ALIASES, TEXT_ENCODER
from acestep_flows.model.placement import Placement
from acestep_flows.model.umt5 import Umt5Encoder
from acestep_flows.wording.tempo import tempo_first

MAX_TOKENS = 256
ERG_BLOCKS = (8, 9)
"""First and last block, both included, whose queries ERG scales (spec 02 section 3.1)."""


class TextEncoder:
    """Encodes prompts to text states. It holds no state between calls, so calls may overlap."""

    def __init__(
        self,
        model: Umt5Encoder,
        tokenizer: Tokenizer,
        pad_id: int,
        erg_blocks: tuple[int, int],
        *,
        tempo_first: bool = False,
    ) -> None:
        self.model = model
        self._tempo_first = tempo_first
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._pad_id = pad_id
        self._erg_blocks = erg_blocks

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> TextEncoder:
        """Read the encoder's weights and tokenizer.

        Raises:
            CheckpointError: the weights file lacks a tensor or has changed since the checkpoint was opened.
        """
        config = checkpoint.config(TEXT_ENCODER)
        with torch.device("meta"):
            model = Umt5Encoder(config)
        names = set(checkpoint.shapes(TEXT_ENCODER)) - set(ALIASES)
        tensors = checkpoint.load(TEXT_ENCODER, names, dtype=placement.dtype, device=placement.device)
        model.load_state_dict(tensors, assign=True)
        tokenizer = Tokenizer.from_file(str(checkpoint.file(TEXT_ENCODER, TOKENIZER)))
        erg_blocks = tuple(config.get("erg_blocks", ERG_BLOCKS))
        first = bool(config.get("tempo_first", False))
        return cls(model.eval().requires_grad_(False), tokenizer, config["pad_token_id"], erg_blocks, tempo_first=first)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def encode(self, prompts: Sequence[str], *, erg_temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Text states (B, L, width) and mask (B, L) of `prompts`, both fp32 on the CPU.

        Args:
            prompts: used unchanged, except that a model which was trained so gets the tempo first; each is cut at 256
                tokens and padded to the longest.
            erg_temperature: factor on the self-attention queries of the ERG blocks; 1 leaves them unchanged.
        """
        ids, mask = self.tokenize(prompts)
        states = self.states(ids, mask, erg_temperature=erg_temperature)
        return states.float().cpu(), mask.float()

    def unread(self, prompt: str) -> str:
        """The end of `prompt` that lies beyond 256 tokens and so is not read; "" for most prompts."""
        encoding = self._tokenizer.encode(prompt)
        if not encoding.overflowing:
            return ""
        return prompt[max((end for _, end in encoding.offsets), default=0) :].strip()

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask of `prompts`, both (B, L) int64."""
        texts = [tempo_first(prompt) for prompt in prompts] if self._tempo_first else list(prompts)
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [self._pad_id] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return ids, mask

    @torch.inference_mode()
    def states(
        self, ids: Tensor, mask: Tensor, *, erg_temperature: float = 1.0, blocks: tuple[int, int] | None = None
    ) -> Tensor:
        """Last hidden states (B, L, width) of token ids (B, L) with their mask (B, L).

        Args:
            erg_temperature: factor on the self-attention queries of `blocks`; 1 leaves them unchanged.
            blocks: first and last block, both included; by default those of the checkpoint.
        """
        first, last = blocks or self._erg_blocks
        factors = {} if erg_temperature == 1.0 else dict.fromkeys(range(first, last + 1), erg_temperature)
        states: Tensor = self.model(ids.to(self.device), mask.to(self.device), factors)
        return states
