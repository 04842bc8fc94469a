"""The untrained checkpoint that the training of acestep-nano starts from, in the published layout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acestep_flows import storage
from acestep_flows.model.checkpoint import LYRIC_VOCAB_FILE, PARTS, TOKENIZER
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.layout import ALIASES as TENSOR_ALIASES
from acestep_flows.model.layout import AUTOENCODER, TEXT_ENCODER, TRANSFORMER, VOCODER, Config
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.mel import FILTERS, WINDOW, mel_filters
from acestep_flows.model.spectral_vocoder import MagnitudeNetwork
from acestep_flows.model.transformer import Transformer
from acestep_flows.model.vocabulary import lyric_vocabulary, word_tokenizer
from acestep_flows.training.loop.export_part import write_part
from acestep_flows.training.nano.architecture import configs
from acestep_flows.training.nano.words import ALIASES, prompt_words
from acestep_flows.training.synthesis.lexicon import written_syllables
from acestep_flows.values import seconds_from_frames

Tensors = dict[str, Tensor]

EMBEDDING = "shared.weight"

BEAT_MULTIPLES = 0.5
"""Multiples of the beat's angle per frame in the embedding of a tempo: all whole multiples of this, from it on."""

LATENT_GAIN = 5.6
"""Gain of the encoder's last convolution: it brings untrained latents near the published deviation."""


def write_start(folder: Path, seed: int = 0) -> None:
    """Write the four parts into `folder`, with the initial weights of their layers.

    Raises:
        StorageError: a file cannot be written.
    """
    tokenizer, vocabulary = word_tokenizer(prompt_words(), ALIASES), lyric_vocabulary(written_syllables())
    words = json.loads(tokenizer)["model"]["vocab"]
    parts = configs(1 + max(words.values()), len(vocabulary["model"]["vocab"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = {part: INITIAL[part](parts[part]) for part in PARTS}
        spell_tempos(weights[TEXT_ENCODER][EMBEDDING], words)
    for part in PARTS:
        write_part(folder, part, parts[part], weights[part], exact=(WINDOW, FILTERS))
    storage.write(folder / TEXT_ENCODER / TOKENIZER, tokenizer.encode())
    storage.write(folder / LYRIC_VOCAB_FILE, json.dumps(vocabulary, ensure_ascii=False).encode())


def _transformer(config: Config) -> Tensors:
    sizes = TransformerConfig.from_json(config)
    denoiser, lyrics, condition = Transformer(sizes), LyricEncoder(sizes), ConditionProjector(sizes)
    nn.init.zeros_(denoiser.final_layer.linear.weight)  # the first predicted velocities are zero
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
    return {name: tensor for name, tensor in state.items() if name not in TENSOR_ALIASES}


def spell_tempos(embedding: Tensor, vocabulary: Mapping[str, int]) -> None:
    """Give number words rows of `embedding` (words, D) that say how far a beat of that tempo turns in a frame.

    Row of n: cosines and sines of multiples of the angle 2 pi n / 60 * (seconds of a frame), with the root mean square
    that the rows had. Neighbouring tempos get similar rows, and no row must be learnt.
    """
    numbers = torch.tensor(sorted(int(word) for word in vocabulary if word.isdecimal()))
    rows = torch.tensor([vocabulary[str(int(number))] for number in numbers])
    angles = 2 * math.pi * numbers / 60 * seconds_from_frames(1)
    multiples = BEAT_MULTIPLES * torch.arange(1, embedding.shape[1] // 2 + 1)
    turns = angles[:, None] * multiples
    size = embedding[rows].square().mean().sqrt()
    embedding[rows] = size * math.sqrt(2.0) * torch.cat((turns.cos(), turns.sin()), dim=1)


def _vocoder(config: Config) -> Tensors:
    bins = config["n_fft"] // 2 + 1
    filters = mel_filters(bins, config["n_mels"], config["sampling_rate"], config["f_min"], config["f_max"])
    network = MagnitudeNetwork(config, filters)
    nn.init.zeros_(network.out.weight)  # the network has no effect at first
    nn.init.zeros_(network.out.bias)
    return {WINDOW: torch.hann_window(config["win_length"]), FILTERS: filters, **network.state_dict()}


INITIAL = {TRANSFORMER: _transformer, AUTOENCODER: _autoencoder, VOCODER: _vocoder, TEXT_ENCODER: _text_encoder}
