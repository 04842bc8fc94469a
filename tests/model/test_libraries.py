"""Our forms of two published networks against the libraries that have them.

They are equal to the bit where the products of matrices round alike, which depends on where memory lies.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from acestep_flows.model.dcae import DcaeDecoder, DcaeEncoder
from acestep_flows.model.layout import ALIASES, AUTOENCODER, TEXT_ENCODER
from acestep_flows.model.umt5 import Umt5Encoder
from tests.model.small import small_checkpoint

CLOSE: dict[torch.dtype, Any] = {
    torch.float32: {"atol": 1e-4, "rtol": 1e-4},
    torch.bfloat16: {"atol": 0.1, "rtol": 0.02},
}
DTYPES = list(CLOSE)
SIZES: list[dict[str, Any]] = [
    {},
    {"layers_per_block": [0, 2, 1, 2]},
    {"qkv_multiscales": [[], [], [], [3, 5]]},
]


def randomised(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_the_autoencoder_is_that_of_diffusers(dtype: torch.dtype, sizes: dict[str, Any]) -> None:
    from diffusers import AutoencoderDC

    changes = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in sizes.items()}
    config = dict(small_checkpoint().config(AUTOENCODER)) | changes
    torch.manual_seed(1)
    theirs: Any = randomised(AutoencoderDC.from_config(config))  # type: ignore[no-untyped-call]
    for half, ours, shape in (
        ("encoder", DcaeEncoder(config), (2, 128, -1)),
        ("decoder", DcaeDecoder(config), (8, 16, -1)),
    ):
        original = getattr(theirs, half).to(dtype)
        ours.load_state_dict(original.state_dict())
        ours.to(dtype)
        for network in (original, ours):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for frames in (1, 2, 3, 40):  # two and fewer are attended in another way
            width = 8 * frames if half == "encoder" else frames
            batch = torch.randn(2, *shape[:2], width).to(dtype).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                torch.testing.assert_close(ours(batch), original(batch), **CLOSE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_text_encoder_is_that_of_transformers(dtype: torch.dtype) -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    config = dict(small_checkpoint().config(TEXT_ENCODER))
    torch.manual_seed(1)
    theirs = randomised(UMT5EncoderModel(UMT5Config(**config))).to(dtype)
    ours = Umt5Encoder(config).to(dtype)
    ours.load_state_dict({name: tensor for name, tensor in theirs.state_dict().items() if name not in ALIASES})
    for rows, length, padding in ((1, 1, 0), (1, 7, 0), (2, 40, 11), (3, 256, 100)):
        ids = torch.randint(config["vocab_size"], (rows, length))
        mask = torch.ones_like(ids)
        if padding:
            mask[-1, -padding:] = 0
        with torch.inference_mode():
            torch.testing.assert_close(
                ours(ids, mask), theirs(input_ids=ids, attention_mask=mask).last_hidden_state, **CLOSE[dtype]
            )
