"""The sizes of acestep-nano, as the config files of a checkpoint.

Every part but one has the published class with smaller sizes. The exception is the vocoder: the published class cannot
be trained within hours on a CPU, so a spectral vocoder with the same interface replaces it. There are about 15 million
parameters in all.
"""

from __future__ import annotations

from typing import Any

from acestep_flows.model.layout import AUTOENCODER, MEL, TEXT_ENCODER, TRANSFORMER, VOCODER

Configs = dict[str, dict[str, Any]]

SAMPLING: dict[str, Any] = {
    "guidance": "cfg",
    "guidance_scale": 3.0,
    "guidance_interval": 1.0,
    "erg_tag": False,
    "erg_lyric": False,
    "erg_diffusion": False,
}
"""Sampling defaults: classifier-free guidance against blanked words at all steps, as the model was trained for it."""


def configs(words: int, lyric_tokens: int) -> Configs:
    """The config of each part.

    Args:
        words: size of the prompt vocabulary.
        lyric_tokens: size of the lyric vocabulary.
    """
    return {
        TRANSFORMER: _transformer(lyric_tokens),
        AUTOENCODER: _autoencoder(),
        VOCODER: {"_class_name": "SpectralVocoder", "width": 160, "blocks": 6, "iterations": 16} | MEL,
        TEXT_ENCODER: _text_encoder(words),
    }


def _transformer(lyric_tokens: int) -> dict[str, Any]:
    return {
        "_class_name": "ACEStepTransformer2DModel",
        "in_channels": 8,
        "out_channels": 8,
        "patch_size": [16, 1],
        "num_layers": 8,
        "num_attention_heads": 8,
        "attention_head_dim": 32,
        "inner_dim": 256,
        "mlp_ratio": 2.5,
        "max_position": 32768,
        "rope_theta": 100.0,  # periods of 6 to 350 frames: half of them those of beats and bars, half nearly at rest
        "speaker_embedding_dim": 16,
        "text_embedding_dim": 128,
        "lyric_encoder_vocab_size": lyric_tokens,
        "lyric_hidden_size": 128,
        "lyric_encoder_attention_heads": 4,
        "lyric_encoder_linear_units": 512,
        "lyric_encoder_num_blocks": 2,
        "lyric_encoder_erg_blocks": [1, 1],
        "erg_blocks": [3, 4],
        "ssl_names": [],
        "ssl_encoder_depths": [],
        "ssl_latent_dims": [],
        "sampling": SAMPLING,
    }


def _autoencoder() -> dict[str, Any]:
    coder = {
        "block_out_channels": [32, 32, 64, 128],
        "block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
        "layers_per_block": [0, 2, 2, 2],
        "qkv_multiscales": [[], [], [5], [5]],
    }
    return {
        "_class_name": "AutoencoderDC",
        "in_channels": 2,
        "latent_channels": 8,
        "attention_head_dim": 32,
        "downsample_block_type": "Conv",
        "upsample_block_type": "interpolate",
        "decoder_norm_types": "rms_norm",
        "decoder_act_fns": "silu",
        "scaling_factor": 0.41407,
    } | {f"{side}_{key}": content for side in ("encoder", "decoder") for key, content in coder.items()}


def _text_encoder(words: int) -> dict[str, Any]:
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "d_model": 128,
        "d_kv": 32,
        "d_ff": 256,
        "num_layers": 2,
        "num_heads": 4,
        "erg_blocks": [1, 1],
        "tempo_first": True,  # prompts get their tempo first, as in training
        "vocab_size": words,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": 0.0,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": False,
    }
