"""Parts of the transformer's file load alone. Together they are all the tensors of inference."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acestep_flows.errors import CheckpointError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.layout import TRANSFORMER, is_optional
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.placement import Placement
from acestep_flows.model.repa import RepaHeads
from acestep_flows.model.transformer import Transformer
from tests.model.small import small_checkpoint

PARTS = (LyricEncoder, ConditionProjector, Transformer)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_the_parts_cover_the_published_model(request: pytest.FixtureRequest) -> None:
    reference: Path = request.config.getoption("--reference")
    if not reference.is_dir():
        pytest.skip(f"no reference at {reference}; give --reference DIR")
    content = json.loads((reference / "published-configs" / TRANSFORMER / "config.json").read_text("utf-8"))
    manifest = json.loads((reference / "checkpoint-manifest.json").read_text("utf-8"))["components"][TRANSFORMER]
    published = {name: tuple(entry["shape"]) for name, entry in manifest["tensors"].items()}
    with torch.device("meta"):
        parts = [part(TransformerConfig.from_json(content)) for part in PARTS]
        heads = RepaHeads(TransformerConfig.from_json(content))
    loaded: dict[str, tuple[int, ...]] = {}
    for part in parts:
        assert not loaded.keys() & shapes(part).keys()
        loaded |= shapes(part)
    assert loaded == {name: shape for name, shape in published.items() if not is_optional(name)}
    assert shapes(heads) == {name: shape for name, shape in published.items() if name.startswith("projectors.")}
    assert round(sum(map(math.prod, loaded.values())) / 1e9, 2) == 2.59


@pytest.mark.parametrize("part", [*PARTS, RepaHeads])
def test_a_part_reads_its_own_tensors_for_inference(part: type[Transformer], monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = small_checkpoint()
    requested: list[str] = []
    load = Checkpoint.load

    def record(self: Checkpoint, part: str, names: Collection[str], **options: Any) -> dict[str, Tensor]:
        requested.extend(names)
        return load(self, part, names, **options)

    monkeypatch.setattr(Checkpoint, "load", record)
    module = part.load(checkpoint, Placement(dtype="bfloat16"))
    assert set(requested) == set(module.state_dict())
    assert not module.training
    assert {tensor.dtype for tensor in module.parameters()} == {torch.bfloat16}
    assert not any(tensor.requires_grad for tensor in module.parameters())


def test_a_config_that_does_not_parse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = small_checkpoint()
    monkeypatch.setattr(Checkpoint, "config", lambda *_: {"num_layers": 3})
    with pytest.raises(CheckpointError, match="num_attention_heads"):
        Transformer.load(checkpoint, Placement())
