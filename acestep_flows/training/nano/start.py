"""The checkpoint that the training of acestep-nano starts from: whole, in the published layout, and knowing nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acestep_flows import storage
from acestep_flows.model.checkpoint import LYRIC_VOCAB_FILE, PARTS, TOKENIZER
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.layout import (
    ALIASES as SECOND_NAMES,
)
from acestep_flows.model.layout import (
    AUTOENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    VOCODER,
    Config,
)
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.mel import FILTERS, WINDOW, mel_filters
from acestep_flows.model.spectral_vocoder import MagnitudeNetwork
from acestep_flows.model.transformer import Transformer
from acestep_flows.model.vocabulary import lyric_vocabulary, word_tokenizer
from acestep_flows.training.loop.export_part import write_part
from acestep_flows.training.nano.architecture import configs
from acestep_flows.training.nano.words import ALIASES, prompt_words

Tensors = dict[str, Tensor]

EMBEDDING = "shared.weight"

TEMPO_WIDTH = 3.0
"""Beats per minute within which two tempos begin as much the same word: what is learnt of 120 holds for 121, too."""

LATENT_GAIN = 5.6
"""On the encoder's last convolution: its latents begin near the deviation that the published constants expect."""


def write_start(folder: Path, seed: int = 0) -> None:
    """Write the four parts into `folder`, every weight as its layer is initialised.

    Raises:
        StorageError: a file cannot be written.
    """
    tokenizer, vocabulary = word_tokenizer(prompt_words(), ALIASES), lyric_vocabulary()
    words = json.loads(tokenizer)["model"]["vocab"]
    parts = configs(1 + max(words.values()), len(vocabulary["model"]["vocab"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = {part: INITIAL[part](parts[part]) for part in PARTS}
        smooth_numbers(weights[TEXT_ENCODER][EMBEDDING], words)
    for part in PARTS:
        write_part(folder, part, parts[part], weights[part], exact=(WINDOW, FILTERS))
    storage.write(folder / TEXT_ENCODER / TOKENIZER, tokenizer.encode())
    storage.write(folder / LYRIC_VOCAB_FILE, json.dumps(vocabulary, ensure_ascii=False).encode())


def _transformer(config: Config) -> Tensors:
    sizes = TransformerConfig.from_json(config)
    denoiser, lyrics, condition = Transformer(sizes), LyricEncoder(sizes), ConditionProjector(sizes)
    nn.init.zeros_(denoiser.final_layer.linear.weight)  # velocities start at zero, not at noise
    nn.init.zeros_(denoiser.final_layer.linear.bias)
    return {**denoiser.state_dict(), **lyrics.state_dict(), **condition.state_dict()}


def _autoencoder(config: Config) -> Tensors:
    from diffusers import AutoencoderDC

    network: Any = AutoencoderDC.from_config(dict(config))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        network.encoder.conv_out.weight.mul_(LATENT_GAIN)
    return dict(network.state_dict())


def _text_encoder(config: Config) -> Tensors:
    from transformers import UMT5Config, UMT5EncoderModel

    state = UMT5EncoderModel(UMT5Config(**config)).state_dict()
    return {name: tensor for name, tensor in state.items() if name not in SECOND_NAMES}


def smooth_numbers(embedding: Tensor, vocabulary: Mapping[str, int]) -> None:
    """Give the words that are numbers rows of `embedding` (words, D) that resemble those of the numbers beside them.

    Two numbers that lie d apart have a cosine of about exp(-(d / TEMPO_WIDTH)^2 / 4); rows keep their root mean square.
    """
    numbers = torch.tensor(sorted(int(word) for word in vocabulary if word.isdecimal()))
    rows = torch.tensor([vocabulary[str(int(number))] for number in numbers])
    apart = numbers[:, None] - numbers[None]
    mixed = torch.exp(-0.5 * (apart / TEMPO_WIDTH) ** 2) @ torch.randn(len(numbers), embedding.shape[1])
    size = embedding[rows].square().mean().sqrt()
    embedding[rows] = size * mixed / mixed.square().mean(dim=1, keepdim=True).sqrt()


def _vocoder(config: Config) -> Tensors:
    bins = config["n_fft"] // 2 + 1
    filters = mel_filters(bins, config["n_mels"], config["sampling_rate"], config["f_min"], config["f_max"])
    network = MagnitudeNetwork(config, filters)
    nn.init.zeros_(network.out.weight)  # corrects nothing yet
    nn.init.zeros_(network.out.bias)
    return {WINDOW: torch.hann_window(config["win_length"]), FILTERS: filters, **network.state_dict()}


INITIAL = {TRANSFORMER: _transformer, AUTOENCODER: _autoencoder, VOCODER: _vocoder, TEXT_ENCODER: _text_encoder}
