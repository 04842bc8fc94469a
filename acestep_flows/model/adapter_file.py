"""Read LoRA adapters as they lie on people's disks, whoever wrote them.

The formats differ in the names of the same matrices: the published ones (`LAYER.lora_A.weight`), those of peft,
diffusers, ComfyUI and Lightning (the same behind a prefix, with the adapter's name inside), and kohya's
(`lora_unet_LAYER.lora_down.weight`, where LAYER has "_" for ".", with an `alpha` per layer). The scaling comes from the
alphas, from the file's metadata, or from `adapter_config.json` beside it.

Whatever cannot be applied is refused by the name of its tensor: nothing of an adapter is left out silently.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from acestep_flows.errors import CheckpointError
from acestep_flows.model.adapter_scaling import (
    PEFT_CONFIG,
    Scaling,
    check_patterns,
    parse_settings,
    read_scaling,
    scaling_from_settings,
)
from acestep_flows.model.extras import LORA_FILE, refuse_training_folder
from acestep_flows.model.layout import transformer_layout

FILE = LORA_FILE
PEFT_FILE = "adapter_model.safetensors"
BASE = "base_digest"
"""Metadata key of the digest of the transformer the adapter was trained on. Only this package reads it."""

MAX_TENSORS = 50_000
MAX_CONFIG_BYTES = 10_000_000

_PREFIXES = ("base_model.model.", "transformer.", "transformers.", "diffusion_model.", "model.", "module.")
_KOHYA = ("lora_unet_", "lora_transformer_")
_TEXT_ENCODER = ("text_encoder", "lora_te", "te_", "te.", "text_model.", "conditioner.")
_NUMBER = re.compile(r"(?<=[._])\d+(?=[._]|$)")
_FACTOR = re.compile(
    r"\.(?:lora_(?P<letter>[AB])(?:\.[^.]+)?\.weight|lora[_.](?P<way>down|up)\.weight|(?P<alpha>alpha))$"
)
_OTHER_KINDS = {
    "lokr_": "LoKr",
    "hada_": "LoHa",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "lora_mid": "a Tucker decomposition",
    "lora_embedding_": "LoRA of an embedding",
    "ia3_": "IA3",
    "oft_": "OFT",
    "glora": "GLoRA",
}


@dataclass(frozen=True)
class LowRank:
    """The low-rank update up @ down of one layer: down (r, in), up (out, r)."""

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        """The rank r."""
        return self.down.shape[0]


@dataclass(frozen=True)
class AdapterFile:
    """The content of an adapter's file: updates by the published name of a layer, scaling, and digest of the base."""

    layers: Mapping[str, LowRank]
    scaling: Scaling | None
    base: str


def read_adapter_file(path: Path, alpha: float | None = None, rslora: bool = False) -> AdapterFile:
    """Read an adapter in any of the formats above.

    Args:
        path: a file, or a folder that holds one under its usual name or as its only safetensors file.
        alpha: scaling of a file that holds none.
        rslora: whether `alpha` is divided by the root of the rank.

    Raises:
        CheckpointError: there is no such file, it cannot be read, or something in it cannot be applied.
    """
    file = adapter_file(path)
    metadata, tensors = _read(file)
    layers, alphas = _layers(tensors, str(file))
    scaling = _layer_alphas(layers, alphas) or read_scaling(metadata, str(file)) or _peft_config(file.parent)
    if scaling is None and alpha is not None:
        scaling = Scaling(alpha, rslora)
    if scaling is not None:
        check_patterns(scaling, {name: layer.rank for name, layer in layers.items()}, str(file))
    return AdapterFile(layers, scaling, metadata.get(BASE, ""))


def adapter_file(path: Path) -> Path:
    """The file that holds the adapter at `path`.

    Raises:
        CheckpointError: there is none, or several that might be meant.
    """
    if path.is_file():
        return path
    known = [path / name for name in (FILE, PEFT_FILE) if (path / name).is_file()]
    files = known[:1] or sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    refuse_training_folder(path)
    if files:
        listed = ", ".join(file.name for file in files[:5])
        raise CheckpointError(f"several files: {listed}", where=str(path), allowed="the path of one of them")
    pickles = [entry.name for entry in sorted(path.glob("*")) if entry.suffix in (".bin", ".pt", ".pth", ".ckpt")]
    if pickles:
        raise CheckpointError(
            f"{pickles[0]} is a pickle, which may run code", where=str(path), allowed="safetensors; convert it first"
        )
    raise CheckpointError(
        f"no file {path.name}" if not path.is_dir() else "no adapter",
        where=str(path if path.is_dir() else path.parent),
        allowed=f"a LoRA safetensors file, or a folder with {FILE} or {PEFT_FILE}",
    )


def _read(file: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            if len(names) > MAX_TENSORS:
                raise CheckpointError(f"{len(names)} tensors", where=str(file), allowed=f"at most {MAX_TENSORS}")
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        # An unknown dtype or a header that lies comes out of the library as any of these.
        raise CheckpointError(
            f"cannot be read: {str(error)[:120]}", where=str(file), allowed="a LoRA safetensors file"
        ) from None


def _layers(tensors: Mapping[str, Tensor], where: str) -> tuple[dict[str, LowRank], dict[str, float]]:
    """Layers, and the alphas of the layers that have one, from tensors with names of any format."""
    parts: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        match = _FACTOR.search(name)
        if match is None:
            raise CheckpointError(f"not an adapter: {_why_not(name)}", where=where, allowed=_ALLOWED)
        role = {"A": "down", "B": "up", None: match["way"] or "alpha"}[match["letter"]]
        layer = _published_name(name[: match.start()], name, where)
        if role in parts.setdefault(layer, {}):
            raise CheckpointError(f"{name} and {parts[layer][role][0]} are for the same layer", where=where)
        parts[layer][role] = name, tensor
    if not parts:
        raise CheckpointError("not an adapter: no tensors", where=where, allowed=_ALLOWED)
    layers = {layer: _low_rank(layer, part, where) for layer, part in parts.items()}
    alphas = {layer: _alpha(*part["alpha"], where) for layer, part in parts.items() if "alpha" in part}
    return layers, alphas


_ALLOWED = "matrices LAYER.lora_A.weight (rank, in) and LAYER.lora_B.weight (out, rank)"


def _why_not(name: str) -> str:
    kind = next((kind for part, kind in _OTHER_KINDS.items() if part in name), None)
    return f"{name} belongs to {kind}, which cannot be applied" if kind else f"{name} is no factor of a low-rank update"


def _low_rank(layer: str, part: Mapping[str, tuple[str, Tensor]], where: str) -> LowRank:
    """The update of one layer, its factors checked.

    Raises:
        CheckpointError: a factor is missing, is no matrix of numbers, or does not go with the other.
    """
    if not {"down", "up"} <= set(part):
        name = next(iter(part.values()))[0]
        raise CheckpointError(f"not an adapter: {name} of {layer} has one factor only", where=where, allowed=_ALLOWED)
    (down_name, down), (up_name, up) = part["down"], part["up"]
    for name, tensor in (part["down"], part["up"]):
        if _matrix(tensor).ndim != 2 or not tensor.dtype.is_floating_point:
            raise CheckpointError(
                f"not an adapter: {name} has shape {list(tensor.shape)}, dtype {str(tensor.dtype)[6:]}",
                where=where,
                allowed="matrices of floating-point numbers",
            )
    down, up = _matrix(down), _matrix(up)
    if down.shape[0] != up.shape[1]:
        raise CheckpointError(
            f"not an adapter: {down_name} has rank {down.shape[0]} and {up_name} rank {up.shape[1]}",
            where=where,
            allowed="one rank for both factors of a layer",
        )
    if 0 in (*down.shape, *up.shape):
        raise CheckpointError(f"not an adapter: {down_name} has rank 0", where=where, allowed="a rank of 1 or more")
    for name, tensor in (part["down"], part["up"]):
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"{name} holds NaN or infinity", where=where, allowed="finite numbers")
    return LowRank(down, up)


def _alpha(name: str, tensor: Tensor, where: str) -> float:
    alpha = float(tensor) if tensor.numel() == 1 else float("nan")
    if not abs(alpha) < 1e6:
        raise CheckpointError(f"{name} is no number that can scale an update", where=where, allowed="a finite number")
    return alpha


def _published_name(name: str, tensor: str, where: str) -> str:
    """The published name of the layer that another format calls `name`.

    Raises:
        CheckpointError: it is a layer of the text encoder, or kohya's name belongs to no layer.
    """
    if name.startswith(_TEXT_ENCODER):
        raise CheckpointError(
            f"{tensor} is for the text encoder, which adapters leave as it is",
            where=where,
            allowed="layers of the transformer; train or export the adapter without the text encoder",
        )
    if name.startswith(_KOHYA):
        flat = name.removeprefix(next(prefix for prefix in _KOHYA if name.startswith(prefix)))
        pattern = _published_names().get(_NUMBER.sub("#", flat))
        if pattern is None:
            raise CheckpointError(f"no layer is called {name}", where=where, allowed="layers of the transformer")
        numbers = iter(_NUMBER.findall(flat))
        return re.sub("#", lambda _: next(numbers), pattern)
    shorter = True
    while shorter:
        shorter = False
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name, shorter = name.removeprefix(prefix), True
    return name


@cache
def _published_names() -> dict[str, str]:
    """Published names by kohya's, with "#" for every number, so that they are the same for models of any size."""
    names = [name.removesuffix(".weight") for name in transformer_layout(_ANY_SIZE)]
    return {_NUMBER.sub("#", name.replace(".", "_")): _NUMBER.sub("#", name) for name in names}


_ANY_SIZE = {
    **dict.fromkeys(("num_layers", "num_attention_heads", "mlp_ratio", "rope_theta"), 1),
    **dict.fromkeys(("speaker_embedding_dim", "text_embedding_dim", "lyric_encoder_vocab_size"), 1),
    **{
        "attention_head_dim": 2,
        "lyric_hidden_size": 16,
        "lyric_encoder_num_blocks": 1,
        "lyric_encoder_linear_units": 1,
    },
    **{"ssl_names": ["any"], "ssl_encoder_depths": [0], "ssl_latent_dims": [1]},
}


def _matrix(tensor: Tensor) -> Tensor:
    """A matrix, also where a file stores the factor of a 1x1 convolution as its kernel."""
    if tensor.ndim > 2 and tensor.shape[0] and tensor.shape[1] and tensor[0, 0].numel() == 1:
        return tensor.flatten(1)
    return tensor


def _layer_alphas(layers: Mapping[str, LowRank], alphas: Mapping[str, float]) -> Scaling | None:
    """The scaling that alphas of single layers make. A layer without one has its rank, which is scaling 1."""
    if not alphas:
        return None
    all_alphas = {name: alphas.get(name, float(layer.rank)) for name, layer in layers.items()}
    common = Counter(all_alphas.values()).most_common(1)[0][0]
    return Scaling(common, False, {name: alpha for name, alpha in all_alphas.items() if alpha != common})


def _peft_config(folder: Path) -> Scaling | None:
    """The scaling in `adapter_config.json` beside the file; None where there is no such file."""
    file = folder / PEFT_CONFIG
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{file.stat().st_size} bytes", where=str(file), allowed="the settings of a LoRA")
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(file)) from None
    return scaling_from_settings(parse_settings(text, str(file)), str(file))
