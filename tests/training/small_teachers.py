"""Teachers of the published kind, small and untrained, in folders as the hub's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def write_teacher(folder: Path, width: int, seed: int = 0) -> Path:
    """A HuBERT of one layer, with the convolutions of the real ones: 320 samples a frame."""
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(seed)
    config = HubertConfig(
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=width,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    model: Any = HubertModel(config)
    model.save_pretrained(folder)
    return folder
