"""The layout tables, compared with the published key list and with the modules that load the tensors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from acestep_flows.model.checkpoint import PARTS
from acestep_flows.model.layout import AUTOENCODER, LAYOUTS, TEXT_ENCODER, TRANSFORMER, Layout, class_name, is_optional
from tests.model.small import small_checkpoint


def layout(config: Any) -> Layout:
    return LAYOUTS[class_name(config)](config)


@pytest.mark.parametrize("part", PARTS)
def test_the_published_config_implies_the_published_tensors(part: str, request: pytest.FixtureRequest) -> None:
    reference: Path = request.config.getoption("--reference")
    if not reference.is_dir():
        pytest.skip(f"no reference at {reference}; give --reference DIR")
    config = json.loads((reference / "published-configs" / part / "config.json").read_text("utf-8"))
    component = json.loads((reference / "checkpoint-manifest.json").read_text("utf-8"))["components"][part]
    shapes = layout(config)
    assert shapes == {name: tuple(entry["shape"]) for name, entry in component["tensors"].items()}
    assert sum(map(math.prod, shapes.values())) == component["stored_elements"]


def test_a_fifth_of_the_transformer_is_optional_for_inference(request: pytest.FixtureRequest) -> None:
    reference: Path = request.config.getoption("--reference")
    if not reference.is_dir():
        pytest.skip(f"no reference at {reference}; give --reference DIR")
    config = json.loads((reference / "published-configs" / TRANSFORMER / "config.json").read_text("utf-8"))
    sizes = {name: math.prod(shape) for name, shape in layout(config).items()}
    needed = sum(size for name, size in sizes.items() if not is_optional(name))
    assert 2.58e9 < needed < 2.60e9
    assert sum(sizes.values()) > 3.3e9


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"layers_per_block": [0, 2, 1, 2], "block_out_channels": [64, 32, 64, 128]},
        {"layers_per_block": [1, 0, 1, 2]},
    ],
)
def test_the_autoencoder_layout_equals_that_of_diffusers(sizes: dict[str, Any]) -> None:
    from diffusers import AutoencoderDC

    config = dict(small_checkpoint().config(AUTOENCODER)) | {
        f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()
    }
    with torch.device("meta"):
        module = AutoencoderDC.from_config(dict(config))  # type: ignore[no-untyped-call]
    assert layout(config) == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_the_text_encoder_layout_equals_that_of_transformers() -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    config = small_checkpoint().config(TEXT_ENCODER)
    with torch.device("meta"):
        module = UMT5EncoderModel(UMT5Config(**config))
    state = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    del state["encoder.embed_tokens.weight"]  # the same tensor as shared.weight
    assert layout(config) == state
