"""Rows of an embedding that training leaves as they are, such as those of numbers, whose meaning they spell out."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

EMBEDDING = "shared.weight"
"""The text encoder's embedding."""


def number_rows(tokenizer: Path) -> Tensor:
    """The ids of the number words of a tokenizer of whole words."""
    vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    return torch.tensor(sorted(row for word, row in vocabulary.items() if word.isdecimal()))


def keep_rows(embedding: nn.Parameter, rows: Tensor) -> None:
    """Keep `rows` of `embedding` (words, D) as they are now: they get no gradient, and decay of weights is undone."""
    fixed = embedding.detach()[rows].clone()

    @torch.no_grad()
    def restore(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter[rows] = fixed
        parameter.grad[rows] = 0.0

    embedding.register_post_accumulate_grad_hook(restore)
