from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from acestep_flows.errors import CheckpointError
from acestep_flows.model.adapter_file import FILE, LowRank
from acestep_flows.model.adapter_scaling import METADATA, Scaling
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.layout import TRANSFORMER, transformer_layout
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from tests.model.small import small_checkpoint

CONFIG = small_checkpoint().config(TRANSFORMER)


@cache
def transformer() -> Transformer:
    return Transformer.load(small_checkpoint(), Placement())


def adapter(*names: str, rank: int = 2, scaling: Scaling | None = None) -> Adapter:
    shapes = [transformer_layout(CONFIG)[f"{name}.weight"] for name in names]
    layers = {
        name: LowRank(torch.randn(rank, inputs), torch.randn(outputs, rank))
        for name, (outputs, inputs) in zip(names, shapes, strict=True)
    }
    return Adapter(layers, scaling)


QUERY, OUT = "transformer_blocks.1.cross_attn.to_q", "transformer_blocks.0.attn.to_out.0"


def velocity(model: Transformer) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    width = model.config.width
    condition = model.encode_condition(torch.randn(5, width, generator=draw), torch.ones(5))
    with torch.inference_mode():
        out: torch.Tensor = model(torch.randn(1, 8, 16, 7, generator=draw), torch.tensor([400.0]), [condition])
        return out


def test_an_adapted_copy_equals_merged_weights_and_shares_the_rest() -> None:
    lora = adapter(QUERY, OUT)
    twin = lora.apply(transformer(), 0.5)
    merged = Transformer.load(small_checkpoint(), Placement())
    state = dict(merged.state_dict())
    for name, layer in lora.layers.items():
        state[f"{name}.weight"] = state[f"{name}.weight"] + 0.5 * layer.up @ layer.down
    merged.load_state_dict(state, assign=True)
    torch.testing.assert_close(velocity(twin), velocity(merged), atol=1e-5, rtol=1e-5)

    shared = {tensor.data_ptr() for tensor in transformer().parameters()}
    own = [tensor for tensor in twin.parameters() if tensor.data_ptr() not in shared]
    assert len(own) == 2 * len(lora.layers)


def test_the_base_transformer_is_unchanged() -> None:
    before = velocity(transformer())
    assert not torch.allclose(velocity(adapter(QUERY).apply(transformer())), before)
    assert torch.equal(velocity(transformer()), before)
    torch.testing.assert_close(velocity(adapter(QUERY).apply(transformer(), 0.0)), before)


def test_several_adapters_add_up() -> None:
    first, second = adapter(QUERY), adapter(QUERY, OUT)
    one_way = second.apply(first.apply(transformer(), 0.3), 0.2)
    other_way = first.apply(second.apply(transformer(), 0.2), 0.3)
    torch.testing.assert_close(velocity(one_way), velocity(other_way), atol=1e-5, rtol=1e-5)


def test_a_module_takes_only_its_own_layers() -> None:
    projector = ConditionProjector.load(small_checkpoint(), Placement(dtype="bfloat16"))
    twin = adapter("speaker_embedder", QUERY).apply(projector)
    config = twin.config
    text, lyrics = torch.zeros(2, config.text_embedding_dim), torch.zeros(1, config.lyric_hidden_size)
    states, _ = twin(text, torch.ones(2), lyrics, torch.ones(1))
    assert states.dtype == torch.bfloat16
    assert {name for name, _ in twin.named_parameters()} - {name for name, _ in projector.named_parameters()} == {
        "speaker_embedder.base.weight",
        "speaker_embedder.base.bias",
        "speaker_embedder.down",
        "speaker_embedder.up",
    }


@pytest.mark.parametrize(
    ("scaling", "factor"),
    [
        (None, 1.0),
        (Scaling(6), 1.5),
        (Scaling(6, use_rslora=True), 3.0),
        (Scaling(6, alpha_pattern={"to_q": 2}), 0.5),
        (Scaling(6, alpha_pattern={r"blocks\.\d+\.attn\.to_q": 2}), 1.5),
    ],
)
def test_scaling_is_read_from_the_metadata(scaling: Scaling | None, factor: float, tmp_path: Path) -> None:
    adapter(QUERY, rank=4, scaling=scaling).save(tmp_path)
    loaded = Adapter.load(tmp_path, CONFIG)
    assert loaded.scaling == scaling
    adapted = loaded.apply(transformer()).get_submodule(QUERY)
    assert adapted.scaling == factor


def test_a_saved_adapter_loads_unchanged(tmp_path: Path) -> None:
    original = adapter(QUERY, OUT, scaling=Scaling(8.0, use_rslora=True))
    file = original.save(tmp_path / "new" / "folder")
    assert file.name == FILE
    assert [path.name for path in file.parent.iterdir()] == [FILE]
    assert Adapter.load(file, CONFIG).digest == original.digest != adapter(QUERY, OUT).digest
    with safe_open(file, framework="pt") as opened:
        settings = json.loads(opened.metadata()[METADATA])
    assert (settings["lora_alpha"], settings["r"], settings["use_rslora"]) == (8.0, 2, True)


def pair(name: str, down: tuple[int, ...], up: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {f"{name}.lora_A.weight": torch.zeros(down), f"{name}.lora_B.weight": torch.zeros(up)}


WIDTH = CONFIG["num_attention_heads"] * CONFIG["attention_head_dim"]


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        (pair(QUERY, (2, 7), (7, 2)), rf"{QUERY}\.lora_A\.weight has width 7, and the layer has {WIDTH} inputs"),
        (pair("transformer_blocks.99.attn.to_q", (2, WIDTH), (WIDTH, 2)), "no linear layer transformer_blocks.99"),
        (pair("lyric_embs", (2, CONFIG["lyric_hidden_size"]), (6693, 2)), "no linear layer lyric_embs"),
        (pair(QUERY, (2, WIDTH), (WIDTH, 3)), f"not an adapter: {QUERY}"),
        ({f"{QUERY}.lora_A.weight": torch.zeros(2, WIDTH)}, f"not an adapter: {QUERY}"),
        ({"something": torch.zeros(2)}, "not an adapter: something"),
        ({}, "no tensors"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tensors: dict[str, torch.Tensor], named: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=named):
        Adapter.load(tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("[", "cannot be read"),
        ("{}", "cannot be read"),
        (json.dumps({"lora_alpha": 3, "use_dora": True}), "DoRA"),
        (json.dumps({"lora_alpha": 3, "peft_type": "LOHA"}), "LOHA"),
    ],
)
def test_unusable_metadata_is_named(settings: str, named: str, tmp_path: Path) -> None:
    save_file(pair(QUERY, (2, WIDTH), (WIDTH, 2)), tmp_path / FILE, metadata={METADATA: settings})
    with pytest.raises(CheckpointError, match=named):
        Adapter.load(tmp_path, CONFIG)


@pytest.mark.parametrize("content", [None, b"", b"RIFF...."])
def test_an_unreadable_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "adapter.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"adapter\.safetensors"):
        Adapter.load(file, CONFIG)


def test_adapting_an_unused_projection_has_no_effect(tmp_path: Path) -> None:
    unused: Any = adapter("transformer_blocks.0.cross_attn.add_q_proj")
    unused.save(tmp_path)
    twin = Adapter.load(tmp_path, CONFIG).apply(transformer())
    assert torch.equal(velocity(twin), velocity(transformer()))


def test_equal_adapters_give_equal_files(tmp_path: Path) -> None:
    original = Adapter(adapter(QUERY, OUT).layers, Scaling(8.0, True), base="0" * 64)
    files = {original.save(tmp_path / str(number)).read_bytes() for number in range(12)}
    assert len(files) == 1
    loaded = Adapter.load(tmp_path / "0", CONFIG)
    assert (loaded.digest, loaded.base) == (original.digest, original.base)
