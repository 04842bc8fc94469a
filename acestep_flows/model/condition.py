"""The condition sequence: one speaker token, the prompt's tokens, the lyric tokens (spec 01 section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.weights import PublishedPart


class ConditionProjector(PublishedPart):
    """Projects speaker, prompt and lyrics to the transformer's width D.

    A null condition has zeros as input; the biases of the projections remain.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.speaker_embedder = nn.Linear(config.speaker_embedding_dim, config.width)
        self.genre_embedder = nn.Linear(config.text_embedding_dim, config.width)
        self.lyric_proj = nn.Linear(config.lyric_hidden_size, config.width)

    def forward(
        self, text: Tensor, text_mask: Tensor, lyrics: Tensor, lyric_mask: Tensor, speaker: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Project the three inputs and concatenate them, with or without a leading batch axis.

        Args:
            text: (L, w) states of the text encoder; text_mask (L,).
            lyrics: (M, w) states of the lyric encoder; lyric_mask (M,).
            speaker: (512,); None means zeros, the only input the published model is run with.

        Returns:
            The condition (1 + L + M, D) and its mask (1 + L + M,).
        """
        weight = self.speaker_embedder.weight
        if speaker is None:
            speaker = weight.new_zeros(*text.shape[:-2], weight.shape[1])
        parts = (
            self.speaker_embedder(speaker.to(weight.dtype)).unsqueeze(-2),
            self.genre_embedder(text.to(weight.dtype)),
            self.lyric_proj(lyrics.to(weight.dtype)),
        )
        masks = (text_mask.new_ones(*text_mask.shape[:-1], 1), text_mask, lyric_mask)
        return torch.cat(parts, dim=-2), torch.cat([mask.float() for mask in masks], dim=-1)
