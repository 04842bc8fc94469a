"""The published checkpoint layout as a function of its configs: names and shapes of the tensors.

This is plain arithmetic without torch, so any process can check a checkpoint's headers in milliseconds. The names are
those of spec 01 section 8 and spec 04 sections 6 and 7. Tests compare these tables with the key list of the published
model and with the modules that load the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from acestep_flows.model.config import TransformerConfig

Shape = tuple[int, ...]
Layout = dict[str, Shape]
Config = Mapping[str, Any]

TRANSFORMER = "ace_step_transformer"
AUTOENCODER = "music_dcae_f8c8"
VOCODER = "music_vocoder"
TEXT_ENCODER = "umt5-base"

PATCH_CHANNELS = 2048
TIMESTEP_CHANNELS = 256

MEL: dict[str, Any] = {
    "sampling_rate": 44100,
    "n_fft": 2048,
    "win_length": 2048,
    "hop_length": 512,
    "f_min": 40,
    "f_max": 16000,
    "n_mels": 128,
}
"""The published mel transform, which the latent space is made for."""


def _linear(name: str, outputs: int, inputs: int, *kernel: int, bias: bool = True) -> Layout:
    weight = {f"{name}.weight": (outputs, inputs, *kernel)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def _norm(name: str, width: int) -> Layout:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _under(prefix: str, *parts: Layout) -> Layout:
    return {f"{prefix}.{name}": shape for part in parts for name, shape in part.items()}


def _merge(parts: Iterable[Layout]) -> Layout:
    return {name: shape for part in parts for name, shape in part.items()}


def transformer_layout(config: Config) -> Layout:
    """The diffusion transformer with its lyric encoder, condition projections and REPA heads (spec 01 section 8).

    Raises:
        CheckpointError: the config lacks a size or has one that is not allowed.
    """
    sizes = TransformerConfig.from_json(config)
    width, block = sizes.width, _transformer_block(sizes)
    heads = (_repa_head(width, teacher) for teacher in sizes.ssl_latent_dims)
    return _merge(
        [
            *(_under(f"transformer_blocks.{index}", block) for index in range(sizes.num_layers)),
            _linear("timestep_embedder.linear_1", width, TIMESTEP_CHANNELS),
            _linear("timestep_embedder.linear_2", width, width),
            _linear("t_block.1", 6 * width, width),
            _linear("speaker_embedder", width, sizes.speaker_embedding_dim),
            _linear("genre_embedder", width, sizes.text_embedding_dim),
            {"lyric_embs.weight": (sizes.lyric_encoder_vocab_size, sizes.lyric_hidden_size)},
            _linear("lyric_proj", width, sizes.lyric_hidden_size),
            _under("lyric_encoder", _lyric_encoder(sizes)),
            *(_under(f"projectors.{index}", head) for index, head in enumerate(heads)),
            _linear("proj_in.early_conv_layers.0", PATCH_CHANNELS, sizes.in_channels, *sizes.patch_size),
            _norm("proj_in.early_conv_layers.1", PATCH_CHANNELS),
            _linear("proj_in.early_conv_layers.2", width, PATCH_CHANNELS, 1, 1),
            {"final_layer.scale_shift_table": (2, width)},
            _linear("final_layer.linear", math.prod(sizes.patch_size) * sizes.out_channels, width),
        ]
    )


def _transformer_block(sizes: TransformerConfig) -> Layout:
    width, hidden = sizes.width, sizes.feed_forward_width
    projections = ("to_q", "to_k", "to_v", "to_out.0")
    unused = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    return _merge(
        [
            {"scale_shift_table": (6, width)},
            *(_linear(f"attn.{name}", width, width) for name in projections),
            *(_linear(f"cross_attn.{name}", width, width) for name in projections + unused),
            _linear("ff.inverted_conv.conv", 2 * hidden, width, 1),
            _linear("ff.depth_conv.conv", 2 * hidden, 1, 3),
            _linear("ff.point_conv.conv", width, hidden, 1, bias=False),
        ]
    )


def _repa_head(width: int, teacher: int) -> Layout:
    return _merge(
        [_linear("0", 2 * width, width), _linear("2", 2 * width, 2 * width), _linear("4", teacher, 2 * width)]
    )


def _lyric_encoder(sizes: TransformerConfig) -> Layout:
    width, heads = sizes.lyric_hidden_size, sizes.lyric_encoder_attention_heads
    attention = _under(
        "self_attn",
        *(_linear(name, width, width) for name in ("linear_q", "linear_k", "linear_v", "linear_out")),
        _linear("linear_pos", width, width, bias=False),
        {"pos_bias_u": (heads, width // heads), "pos_bias_v": (heads, width // heads)},
    )
    layer = _merge(
        [
            attention,
            _linear("feed_forward.w_1", sizes.lyric_encoder_linear_units, width),
            _linear("feed_forward.w_2", width, sizes.lyric_encoder_linear_units),
            _norm("norm_ff", width),
            _norm("norm_mha", width),
        ]
    )
    layers = (_under(f"encoders.{index}", layer) for index in range(sizes.lyric_encoder_num_blocks))
    return _merge(
        [_linear("embed.out.0", width, width), _norm("embed.out.1", width), *layers, _norm("after_norm", width)]
    )


def autoencoder_layout(config: Config) -> Layout:
    """diffusers' `AutoencoderDC`: strided convolutions down, interpolation up (spec 04 section 6)."""
    return _under("encoder", _coder(config, "encoder")) | _under("decoder", _coder(config, "decoder"))


def _coder(config: Config, side: str) -> Layout:
    widths = config[f"{side}_block_out_channels"]
    depths = config[f"{side}_layers_per_block"]
    types = config[f"{side}_block_types"]
    scales = config[f"{side}_qkv_multiscales"]
    audio, latent, last = config["in_channels"], config["latent_channels"], len(widths) - 1
    decoding = side == "decoder"
    parts = []
    for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        kind = types if isinstance(types, str) else types[level]
        blocks = [
            _residual_block(width)
            if kind == "ResBlock"
            else _attention_block(width, config["attention_head_dim"], scales[level])
            for _ in range(depth)
        ]
        if not depth:  # diffusers omits an empty level; if it is the outermost, the first or last convolution skips it
            continue
        if level < last and decoding:
            blocks.insert(0, _linear("conv", width, widths[level + 1], 3, 3))
        elif level < last:
            blocks.append(_linear("conv", widths[level + 1], width, 3, 3))
        name = "up_blocks" if decoding else "down_blocks"
        parts += [_under(f"{name}.{level}.{index}", block) for index, block in enumerate(blocks)]
    outer, suffix = (widths[0], "") if depths[0] else (widths[1], ".conv")
    if decoding:
        ends = [_linear("conv_in", widths[-1], latent, 3, 3), _norm("norm_out", outer)]
        return _merge([*parts, *ends, _linear(f"conv_out{suffix}", audio, outer, 3, 3)])
    ends = [_linear(f"conv_in{suffix}", outer, audio, 3, 3), _linear("conv_out", latent, widths[-1], 3, 3)]
    return _merge([*parts, *ends])


def _residual_block(width: int) -> Layout:
    convs = [_linear("conv1", width, width, 3, 3), _linear("conv2", width, width, 3, 3, bias=False)]
    return _merge([*convs, _norm("norm", width)])


def _attention_block(width: int, head: int, scales: Sequence[int]) -> Layout:
    inner, hidden = width // head * head, 4 * width
    attention = [_linear(name, inner, width, bias=False) for name in ("to_q", "to_k", "to_v")]
    for index, kernel in enumerate(scales):
        name = f"to_qkv_multiscale.{index}"
        attention.append(_linear(f"{name}.proj_in", 3 * inner, 1, kernel, kernel, bias=False))
        attention.append(_linear(f"{name}.proj_out", 3 * inner, head, 1, 1, bias=False))
    attention += [_linear("to_out", width, inner * (1 + len(scales)), bias=False), _norm("norm_out", width)]
    mix = [
        _linear("conv_inverted", 2 * hidden, width, 1, 1),
        _linear("conv_depth", 2 * hidden, 1, 3, 3),
        _linear("conv_point", width, hidden, 1, 1, bias=False),
        _norm("norm", width),
    ]
    return _under("attn", *attention) | _under("conv_out", *mix)


def vocoder_layout(config: Config) -> Layout:
    """ADaMoS-HiFiGAN: ConvNeXt backbone, weight-normed HiFi-GAN head and mel buffers (spec 04 section 7)."""
    backbone = _under("backbone", _convnext(config))
    bins = config["n_fft"] // 2 + 1
    mel = {
        "mel_transform.spectrogram.window": (config["win_length"],),
        "mel_transform.mel_scale.fb": (bins, config["n_mels"]),
    }
    return backbone | _under("head", _hifigan(config)) | mel


def _convnext(config: Config) -> Layout:
    dims = config["dims"]
    parts = []
    for stage, width in enumerate(dims):
        if stage == 0:
            parts.append(_linear("channel_layers.0.0", width, config["input_channels"], config["kernel_sizes"][0]))
            parts.append(_norm("channel_layers.0.1", width))
        else:
            parts.append(_norm(f"channel_layers.{stage}.0", dims[stage - 1]))
            parts.append(_linear(f"channel_layers.{stage}.1", width, dims[stage - 1], 1))
        block = _merge(
            [
                {"gamma": (width,)},
                _linear("dwconv", width, 1, config["kernel_sizes"][0]),
                _norm("norm", width),
                _linear("pwconv1", 4 * width, width),
                _linear("pwconv2", width, 4 * width),
            ]
        )
        parts += [_under(f"stages.{stage}.{index}", block) for index in range(config["depths"][stage])]
    return _merge([*parts, _norm("norm", dims[-1])])


def _weight_normed(name: str, outputs: int, inputs: int, kernel: int, *, transposed: bool = False) -> Layout:
    shape = (inputs, outputs, kernel) if transposed else (outputs, inputs, kernel)
    return {f"{name}.weight_g": (shape[0], 1, 1), f"{name}.weight_v": shape, f"{name}.bias": (outputs,)}


def _hifigan(config: Config) -> Layout:
    width = config["upsample_initial_channel"]
    kernels, dilations = config["resblock_kernel_sizes"], config["resblock_dilation_sizes"]
    parts = [_weight_normed("conv_pre", width, config["num_mels"], config["pre_conv_kernel_size"])]
    for level, up in enumerate(config["upsample_kernel_sizes"]):
        parts.append(_weight_normed(f"ups.{level}", width // 2, width, up, transposed=True))
        width //= 2
        for branch, (kernel, steps) in enumerate(zip(kernels, dilations, strict=True)):
            name = f"resblocks.{level * len(kernels) + branch}"
            for index in range(len(steps)):
                parts.append(_weight_normed(f"{name}.convs1.{index}", width, width, kernel))
                parts.append(_weight_normed(f"{name}.convs2.{index}", width, width, kernel))
    return _merge([*parts, _weight_normed("conv_post", 1, width, config["post_conv_kernel_size"])])


def spectral_vocoder_layout(config: Config) -> Layout:
    """The spectral vocoder's magnitude network and the buffers of the mel transform it inverts."""
    width, bands, bins = config["width"], config["n_mels"], config["n_fft"] // 2 + 1
    block = _merge(
        [
            _linear("depthwise", width, 1, 7),
            _norm("norm", width),
            _linear("expand", 4 * width, width),
            _linear("contract", width, 4 * width),
            {"scale": (width,)},
        ]
    )
    return _merge(
        [
            {"mel_transform.spectrogram.window": (config["win_length"],), "mel_transform.mel_scale.fb": (bins, bands)},
            _linear("stem", width, bands, 7),
            *(_under(f"blocks.{index}", block) for index in range(config["blocks"])),
            _norm("norm", width),
            _linear("out", bins, width),
        ]
    )


def text_encoder_layout(config: Config) -> Layout:
    """UMT5's encoder. The token embedding is stored once, as `shared.weight`."""
    width, inner, hidden = config["d_model"], config["num_heads"] * config["d_kv"], config["d_ff"]
    attention = _under(
        "layer.0.SelfAttention",
        *(_linear(name, inner, width, bias=False) for name in "qkv"),
        _linear("o", width, inner, bias=False),
        {"relative_attention_bias.weight": (config["relative_attention_num_buckets"], config["num_heads"])},
    )
    feed_forward = _under(
        "layer.1.DenseReluDense",
        _linear("wi_0", hidden, width, bias=False),
        _linear("wi_1", hidden, width, bias=False),
        _linear("wo", width, hidden, bias=False),
    )
    norms: Layout = {"layer.0.layer_norm.weight": (width,), "layer.1.layer_norm.weight": (width,)}
    return _merge(
        [
            {"shared.weight": (config["vocab_size"], width), "encoder.final_layer_norm.weight": (width,)},
            *(
                _under(f"encoder.block.{index}", attention, feed_forward, norms)
                for index in range(config["num_layers"])
            ),
        ]
    )


LAYOUTS: dict[str, Callable[[Config], Layout]] = {
    "ACEStepTransformer2DModel": transformer_layout,
    "Transformer2DModel": transformer_layout,
    "AutoencoderDC": autoencoder_layout,
    "ADaMoSHiFiGANV1": vocoder_layout,
    "SpectralVocoder": spectral_vocoder_layout,
    "UMT5EncoderModel": text_encoder_layout,
}
"""The layout of a part by the class name in its config. The transformer has two class names."""
CLASSES: dict[str, tuple[str, ...]] = {
    TRANSFORMER: ("ACEStepTransformer2DModel", "Transformer2DModel"),
    AUTOENCODER: ("AutoencoderDC",),
    VOCODER: ("ADaMoSHiFiGANV1", "SpectralVocoder"),
    TEXT_ENCODER: ("UMT5EncoderModel",),
}
"""The classes each part may have. A new decoder class needs its layout above and its name here."""


def class_name(config: Config) -> str:
    """The class name in a part's config: diffusers' `_class_name`, else the first of transformers' `architectures`."""
    return str(config.get("_class_name") or next(iter(config.get("architectures") or ()), ""))


def is_optional(name: str) -> bool:
    """Whether inference works without this tensor: it belongs to a REPA head or an unused projection."""
    unused = (".cross_attn.add_", ".cross_attn.to_add_out.")
    return name.startswith("projectors.") or any(part in name for part in unused)


ALIASES: dict[str, str] = {"encoder.embed_tokens.weight": "shared.weight"}
"""Second names of tensors that a file may contain twice, with the first name. Tensors under them are never read."""
