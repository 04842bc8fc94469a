"""Complete checkpoints with seeded random weights, in the published layout: for tests and benchmarks.

The generated audio is noise, but well scaled: every stage runs, and latents and audio are finite and audible. Tensors,
dtypes and file names are those of the published model. The tokenizers are tiny ones in the same formats.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows.errors import StorageError
from acestep_flows.model.checkpoint import (
    CONFIG,
    LYRIC_VOCAB_FILE,
    PARTS,
    TOKENIZER,
    weights_file,
)
from acestep_flows.model.layout import AUTOENCODER, LAYOUTS, MEL, TEXT_ENCODER, TRANSFORMER, VOCODER, Shape, class_name
from acestep_flows.model.vocabulary import byte_tokenizer, lyric_vocabulary

DTYPES = {TRANSFORMER: "bfloat16", AUTOENCODER: "bfloat16", VOCODER: "bfloat16", TEXT_ENCODER: "float32"}
"""The published dtypes of the parts."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a random checkpoint. All other sizes are the published ones or follow from these.

    Attributes:
        erg_blocks, lyric_erg_blocks, text_erg_blocks: first and last block of the lowered temperature of ERG.
        upsampling: the vocoder's rate and kernel size per level; the rates multiply to 512.
    """

    blocks: int
    heads: int
    head_dim: int
    erg_blocks: tuple[int, int]
    lyric_width: int
    lyric_heads: int
    lyric_blocks: int
    lyric_erg_blocks: tuple[int, int]
    text_width: int
    text_heads: int
    text_blocks: int
    text_erg_blocks: tuple[int, int]
    autoencoder_channels: tuple[int, int, int, int]
    autoencoder_layers: int
    autoencoder_head_dim: int
    backbone_dims: tuple[int, int, int, int]
    backbone_depths: tuple[int, int, int, int]
    vocoder_channels: int
    upsampling: tuple[tuple[int, int], ...]
    teachers: tuple[int, int]


SMALL = Sizes(
    blocks=6,
    heads=4,
    head_dim=32,
    erg_blocks=(3, 4),
    lyric_width=64,
    lyric_heads=4,
    lyric_blocks=2,
    lyric_erg_blocks=(1, 1),
    text_width=64,
    text_heads=4,
    text_blocks=3,
    text_erg_blocks=(1, 1),
    autoencoder_channels=(16, 32, 64, 64),
    autoencoder_layers=1,
    autoencoder_head_dim=16,
    backbone_dims=(64, 96, 128, 128),
    backbone_depths=(1, 1, 2, 1),
    vocoder_channels=32,
    upsampling=((8, 16), (8, 16), (8, 16)),
    teachers=(32, 16),
)
"""Quick to write and to run on any CPU."""

MIDDLE = Sizes(
    blocks=24,
    heads=8,
    head_dim=64,
    erg_blocks=(15, 19),
    lyric_width=256,
    lyric_heads=4,
    lyric_blocks=6,
    lyric_erg_blocks=(4, 5),
    text_width=256,
    text_heads=4,
    text_blocks=12,
    text_erg_blocks=(8, 9),
    autoencoder_channels=(32, 64, 128, 256),
    autoencoder_layers=3,
    autoencoder_head_dim=32,
    backbone_dims=(128, 256, 384, 512),
    backbone_depths=(3, 3, 9, 3),
    vocoder_channels=128,
    upsampling=((4, 8), (4, 8), (2, 4), (2, 4), (2, 4), (2, 4), (2, 4)),
    teachers=(1024, 768),
)
"""A fifth of the published widths, for benchmarks."""


def write_random_checkpoint(folder: Path, sizes: Sizes, seed: int) -> None:
    """Write a whole checkpoint into `folder`. The same sizes and seed give the same weights.

    Raises:
        StorageError: a file cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    vocab = lyric_vocabulary()
    configs = random_configs(sizes, len(vocab["model"]["vocab"]))
    try:
        for part in PARTS:
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / CONFIG).write_text(json.dumps(configs[part], indent=2) + "\n", encoding="utf-8")
            tensors = {
                name: torch.from_numpy(array).to(getattr(torch, DTYPES[part]))
                for name, array in random_weights(configs[part], seed).items()
            }
            save_file(tensors, folder / part / weights_file(part), metadata={"format": "pt"})
        (folder / TEXT_ENCODER / TOKENIZER).write_text(byte_tokenizer(), encoding="utf-8")
        (folder / LYRIC_VOCAB_FILE).write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder}: cannot write a checkpoint: {error.strerror}") from None


def random_configs(sizes: Sizes, lyric_tokens: int) -> dict[str, dict[str, Any]]:
    """The config of each part."""
    return {
        TRANSFORMER: _transformer(sizes, lyric_tokens),
        AUTOENCODER: _autoencoder(sizes),
        VOCODER: _vocoder(sizes),
        TEXT_ENCODER: _text_encoder(sizes),
    }


def _transformer(sizes: Sizes, lyric_tokens: int) -> dict[str, Any]:
    return {
        "_class_name": "ACEStepTransformer2DModel",
        "in_channels": 8,
        "out_channels": 8,
        "patch_size": [16, 1],
        "num_layers": sizes.blocks,
        "num_attention_heads": sizes.heads,
        "attention_head_dim": sizes.head_dim,
        "inner_dim": sizes.heads * sizes.head_dim,
        "mlp_ratio": 2.5,
        "max_position": 32768,
        "rope_theta": 1_000_000.0,
        "speaker_embedding_dim": 512,
        "text_embedding_dim": sizes.text_width,
        "lyric_encoder_vocab_size": lyric_tokens,
        "lyric_hidden_size": sizes.lyric_width,
        "lyric_encoder_attention_heads": sizes.lyric_heads,
        "lyric_encoder_linear_units": 4 * sizes.lyric_width,
        "lyric_encoder_num_blocks": sizes.lyric_blocks,
        "lyric_encoder_erg_blocks": sizes.lyric_erg_blocks,
        "erg_blocks": sizes.erg_blocks,
        "ssl_names": ["mert", "m-hubert"],
        "ssl_encoder_depths": [sizes.blocks // 3] * 2,
        "ssl_latent_dims": sizes.teachers,
    }


def _autoencoder(sizes: Sizes) -> dict[str, Any]:
    return {
        "_class_name": "AutoencoderDC",
        "in_channels": 2,
        "latent_channels": 8,
        "attention_head_dim": sizes.autoencoder_head_dim,
        "downsample_block_type": "Conv",
        "upsample_block_type": "interpolate",
        "decoder_norm_types": "rms_norm",
        "decoder_act_fns": "silu",
        "scaling_factor": 0.41407,
    } | {f"{side}_{key}": content for side in ("encoder", "decoder") for key, content in _coder(sizes).items()}


def _vocoder(sizes: Sizes) -> dict[str, Any]:
    return {
        "_class_name": "ADaMoSHiFiGANV1",
        "input_channels": 128,
        "depths": sizes.backbone_depths,
        "dims": sizes.backbone_dims,
        "kernel_sizes": [7],
        "drop_path_rate": 0.0,
        "upsample_rates": [rate for rate, _ in sizes.upsampling],
        "upsample_kernel_sizes": [kernel for _, kernel in sizes.upsampling],
        "upsample_initial_channel": sizes.vocoder_channels,
        "resblock_kernel_sizes": [3, 7, 11, 13],
        "resblock_dilation_sizes": [[1, 3, 5]] * 4,
        "num_mels": sizes.backbone_dims[-1],
        "pre_conv_kernel_size": 13,
        "post_conv_kernel_size": 13,
        "use_template": False,
        **MEL,
    }


def _text_encoder(sizes: Sizes) -> dict[str, Any]:
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "d_model": sizes.text_width,
        "d_kv": sizes.text_width // sizes.text_heads,
        "d_ff": 2 * sizes.text_width,
        "num_layers": sizes.text_blocks,
        "num_heads": sizes.text_heads,
        "erg_blocks": sizes.text_erg_blocks,
        "vocab_size": 259,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": 0.1,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": False,
    }


def _coder(sizes: Sizes) -> dict[str, Any]:
    return {
        "block_out_channels": sizes.autoencoder_channels,
        "block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
        "layers_per_block": [sizes.autoencoder_layers] * 4,
        "qkv_multiscales": [[], [], [5], [5]],
    }


def random_weights(config: Mapping[str, Any], seed: int) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the part that `config` describes, by name. The same config and seed give the same numbers."""
    shapes = LAYOUTS[class_name(config)](config)
    weights = {name: _draw(name, shape, config, seed) for name, shape in shapes.items()}
    for name in shapes:
        if name.endswith(".weight_g"):  # weight norm: with this length the weight equals v
            direction = weights[name.removesuffix("_g") + "_v"]
            weights[name] = np.sqrt(np.square(direction).sum(axis=(1, 2), keepdims=True))
    return weights


def _draw(name: str, shape: Shape, config: Mapping[str, Any], seed: int) -> NDArray[np.float32]:
    """Draw one tensor. Each has a generator of its own, so adding a tensor does not change the others."""
    if name.startswith("mel_transform."):
        return _mel_buffer(name, config)
    normal = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, np.float32)
    if name.endswith(("bias", "pos_bias_u", "pos_bias_v")):
        return 0.02 * normal
    if len(shape) == 1:  # norms and layer scales
        return 1 + 0.05 * normal
    if name.endswith("scale_shift_table"):
        return normal / math.sqrt(shape[-1])
    if name in ("shared.weight", "lyric_embs.weight"):
        return normal
    if "relative_attention_bias" in name:
        return 0.5 * normal
    inputs = math.prod(shape[1:])
    gain = 1.0
    if name.startswith("head."):
        gain = _head_gain(name)
        if ".ups." in name:  # (I, O, k): a transposed convolution reaches each output sample with k / rate taps
            level = int(name.split(".")[2])
            inputs = shape[0] * shape[2] // config["upsample_rates"][level]
    elif name.endswith("SelfAttention.q.weight"):
        gain = 1 / math.sqrt(config["d_kv"])  # UMT5 does not scale its scores
    return normal * (gain / math.sqrt(inputs))


def _head_gain(name: str) -> float:
    """A gain that keeps the vocoder's level through its layers, so that the output has about -20 dBFS."""
    if name.startswith("head.conv_post"):
        return 0.2
    if ".convs2." in name:
        return 0.5
    return 1.0 if name.startswith("head.conv_pre") else 1.6


def _mel_buffer(name: str, config: Mapping[str, Any]) -> NDArray[np.float32]:
    import torch

    from acestep_flows.model.mel import WINDOW, mel_filters

    if name == WINDOW:
        return torch.hann_window(config["win_length"]).numpy()
    bins = config["n_fft"] // 2 + 1
    filters = mel_filters(bins, config["n_mels"], config["sampling_rate"], config["f_min"], config["f_max"])
    return filters.numpy()
