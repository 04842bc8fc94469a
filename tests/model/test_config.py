from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.errors import CheckpointError
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.layout import TRANSFORMER
from tests.model.small import small_checkpoint


def published(**changes: Any) -> dict[str, Any]:
    content = {**small_checkpoint().config(TRANSFORMER), **changes}
    return {key: value for key, value in content.items() if value is not ...}


def test_sizes_follow_from_heads_and_ratio() -> None:
    config = TransformerConfig.from_json(
        published(num_attention_heads=20, attention_head_dim=128, mlp_ratio=2.5, inner_dim=7)
    )
    assert (config.width, config.feed_forward_width) == (2560, 6400)


def test_keys_absent_from_the_published_file_have_the_published_values() -> None:
    absent = dict.fromkeys(
        (
            "lyric_encoder_attention_heads",
            "lyric_encoder_linear_units",
            "lyric_encoder_num_blocks",
            "erg_blocks",
            "lyric_encoder_erg_blocks",
        ),
        ...,
    )
    config = TransformerConfig.from_json(published(**absent, lyric_hidden_size=1024, something_new=1))
    assert (config.lyric_encoder_attention_heads, config.lyric_encoder_linear_units) == (16, 4096)
    assert config.lyric_encoder_num_blocks == 6
    assert (config.erg_blocks, config.lyric_encoder_erg_blocks) == ((15, 19), (4, 5))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_layers": ...}, "num_layers"),
        ({"num_layers": 0}, "num_layers"),
        ({"num_layers": "many"}, "num_layers"),
        ({"mlp_ratio": None}, "mlp_ratio"),
        ({"ssl_names": "mert"}, "ssl_names"),
        ({"ssl_names": ["mert"]}, "ssl_names"),
        ({"erg_blocks": [1]}, "erg_blocks"),
        ({"in_channels": 16}, "8 channels"),
        ({"patch_size": [8, 2]}, "patch_size"),
        ({"attention_head_dim": 15}, "attention_head_dim"),
        ({"lyric_encoder_attention_heads": 7}, "lyric_hidden_size"),
    ],
)
def test_impossible_sizes_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        TransformerConfig.from_json(published(**change))
