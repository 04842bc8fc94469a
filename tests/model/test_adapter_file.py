"""Adapters as other programs write them, and files that are none: read whole, or refused by the name of a tensor."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from acestep_flows.errors import CheckpointError
from acestep_flows.model.adapter_file import FILE, PEFT_FILE, read_adapter_file
from acestep_flows.model.adapter_scaling import METADATA, PEFT_CONFIG
from acestep_flows.model.adapters import Adapter
from tests.model.small import small_checkpoint

QUERY = "transformer_blocks.0.attn.to_q"
WIDTH = 128


def factors(rank: int = 4, width: int = WIDTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(rank, width, generator=generator), torch.randn(width, rank, generator=generator)


NAMINGS = {
    "published": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "peft": ("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"),
    "peft with a name": ("base_model.model.{}.lora_A.voice.weight", "base_model.model.{}.lora_B.voice.weight"),
    "diffusers": ("transformer.{}.lora_A.weight", "transformer.{}.lora_B.weight"),
    "older diffusers": ("transformer.{}.lora.down.weight", "transformer.{}.lora.up.weight"),
    "ComfyUI": ("diffusion_model.{}.lora_A.weight", "diffusion_model.{}.lora_B.weight"),
    "ComfyUI, kohya's factors": ("diffusion_model.{}.lora_down.weight", "diffusion_model.{}.lora_up.weight"),
    "Lightning": ("transformers.{}.lora_A.default.weight", "transformers.{}.lora_B.default.weight"),
    "several prefixes": (
        "base_model.model.transformer.{}.lora_A.weight",
        "base_model.model.transformer.{}.lora_B.weight",
    ),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_namings(naming: str, tmp_path: Path) -> None:
    down, up = factors()
    names = (form.format(QUERY) for form in NAMINGS[naming])
    save_file(dict(zip(names, (down, up), strict=True)), tmp_path / "any name.safetensors")
    for path in (tmp_path, tmp_path / "any name.safetensors"):
        adapter = Adapter.load(path, small_checkpoint().config("ace_step_transformer"))
        assert list(adapter.layers) == [QUERY]
        assert torch.equal(adapter.layers[QUERY].down, down)
        assert torch.equal(adapter.layers[QUERY].up, up)


def test_kohya_names(tmp_path: Path) -> None:
    down, up = factors()
    flat = "lora_unet_" + QUERY.replace(".", "_")
    tensors = {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(2.0)}
    save_file(tensors, tmp_path / "k.safetensors")
    adapter = Adapter.load(tmp_path, small_checkpoint().config("ace_step_transformer"))
    assert adapter.scaling is not None
    assert adapter.scaling.of(QUERY, 4) == 0.5


def pair(name: str = QUERY, **change: Tensor) -> dict[str, Tensor]:
    down, up = factors()
    return {f"{name}.lora_A.weight": change.get("down", down), f"{name}.lora_B.weight": change.get("up", up)}


NAN = torch.full((4, WIDTH), float("nan"))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (pair("text_encoder.layers.0.q"), "text_encoder.layers.0.q.lora_A.weight is for the text encoder"),
        (pair("lora_te_layers_0_q"), "lora_te_layers_0_q.lora_A.weight is for the text encoder"),
        (pair(up=torch.zeros(WIDTH, 2)), f"{QUERY}.lora_A.weight has rank 4 and {QUERY}.lora_B.weight rank 2"),
        (pair(down=torch.zeros(0, WIDTH), up=torch.zeros(WIDTH, 0)), f"{QUERY}.lora_A.weight has rank 0"),
        (pair(down=NAN), f"{QUERY}.lora_A.weight holds NaN"),
        (pair(down=torch.zeros(4, WIDTH, dtype=torch.int32)), "dtype int32"),
        (pair(down=torch.zeros(4)), "shape .4."),
        ({f"{QUERY}.lokr_w1": torch.zeros(2, 2)}, "lokr_w1 belongs to LoKr"),
        ({f"{QUERY}.hada_w1_a": torch.zeros(2, 2)}, "hada_w1_a belongs to LoHa"),
        (pair() | {f"{QUERY}.dora_scale": torch.zeros(2)}, "dora_scale belongs to DoRA"),
        (pair() | {f"{QUERY}.lora_magnitude_vector": torch.zeros(2)}, "lora_magnitude_vector belongs to DoRA"),
        (pair() | {"anything": torch.zeros(2)}, "anything is no factor"),
        (pair() | {f"transformer.{QUERY}.lora_A.weight": torch.zeros(4, WIDTH)}, "are for the same layer"),
        (pair() | {f"{QUERY}.alpha": torch.tensor(float("inf"))}, f"{QUERY}.alpha is no number"),
        (pair() | {f"{QUERY}.alpha": torch.zeros(3)}, f"{QUERY}.alpha is no number"),
    ],
)
def test_what_cannot_be_applied_is_named(tensors: Mapping[str, Tensor], message: str, tmp_path: Path) -> None:
    save_file(dict(tensors), tmp_path / FILE)
    with pytest.raises(CheckpointError, match=message):
        read_adapter_file(tmp_path)


def test_a_wrong_width_and_an_unknown_naming_are_told_apart(tmp_path: Path) -> None:
    config = small_checkpoint().config("ace_step_transformer")
    save_file(pair() | pair("transformer_blocks.1.attn.to_q", down=torch.zeros(4, 7)), tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attn\.to_q\.lora_A\.weight has width 7, and "):
        Adapter.load(tmp_path, config)
    save_file(pair("double_blocks.0.img_attn.qkv"), tmp_path / FILE)
    with pytest.raises(CheckpointError, match="its names are none of this kind of model: .*double_blocks"):
        Adapter.load(tmp_path, config)


def test_the_folder_of_a_training_run_names_its_adapter(tmp_path: Path) -> None:
    (tmp_path / "run" / "export").mkdir(parents=True)
    save_file(pair(), tmp_path / "run" / "export" / FILE)
    (tmp_path / "run" / "state.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"run: the folder of a training.*its adapter: .*export\)"):
        read_adapter_file(tmp_path / "run")


def test_folders_with_several_files_or_pickles_are_answered(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no adapter"):
        read_adapter_file(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is a pickle, which may run code"):
        read_adapter_file(tmp_path)
    for name in ("a", "b"):
        save_file(pair(), tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"several files: a\.safetensors, b\.safetensors"):
        read_adapter_file(tmp_path)
    save_file(pair(), tmp_path / PEFT_FILE)
    assert list(read_adapter_file(tmp_path).layers) == [QUERY]


# Settings from strangers.


@pytest.mark.timeout(20)
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ("3", "not a map"),
        ("{}", "lora_alpha is nothing"),
        ({"lora_alpha": "four"}, "lora_alpha is 'four'"),
        ({"lora_alpha": 1e300}, "lora_alpha"),
        ({"lora_alpha": True}, "lora_alpha"),
        ('{"lora_alpha": NaN}', "lora_alpha is nan"),
        ({"lora_alpha": 1, "alpha_pattern": [1]}, "alpha_pattern cannot be read"),
        ({"lora_alpha": 1, "alpha_pattern": {"to_q": None}}, "alpha_pattern of to_q is nothing"),
        ({"lora_alpha": 1, "alpha_pattern": {"(": 1}}, "is no regular expression"),
        ({"lora_alpha": 1, "alpha_pattern": {"(.|.|.)*(.|.|.)*[!?]": 1}}, "takes too long"),
        ({"lora_alpha": 1, "alpha_pattern": {f"x{i}": 1 for i in range(3000)}}, "at most 2000 layers"),
        ({"lora_alpha": 1, "use_dora": True}, "kind DoRA"),
        ({"lora_alpha": 1, "peft_type": ["X"]}, "of kind"),
    ],
)
def test_settings_that_cannot_be_used_are_named(content: Any, message: str, beside: bool, tmp_path: Path) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    if beside:
        (tmp_path / PEFT_CONFIG).write_text(text)
    save_file(pair(), tmp_path / FILE, metadata=None if beside else {METADATA: text})
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=message):
        read_adapter_file(tmp_path)
    assert time.monotonic() - started < 10


SMALL = save(pair(), metadata={METADATA: json.dumps({"lora_alpha": 2})})
HEADER = 8 + int.from_bytes(SMALL[:8], "little")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, HEADER - 1), st.integers(0, 255)), max_size=4),
    end=st.integers(0, len(SMALL)) | st.none(),
)
def test_damaged_files_are_refused_and_nothing_else(
    changes: list[tuple[int, int]], end: int | None, tmp_path: Path
) -> None:
    content = bytearray(SMALL)
    for place, byte in changes:
        content[place] = byte
    file = tmp_path / "damaged.safetensors"
    file.write_bytes(bytes(content[:end]))
    with suppress(CheckpointError):
        read_adapter_file(file)


# Files that people had, where they lie.


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("ckpt_transformers", ""),
        ("comfy", ""),
        ("peft_named", ""),
        ("rank_mismatch", r"to_q\.lora_A\.weight has rank 4 and .*lora_B\.weight rank 2"),
        ("wrong_width", r"to_q\.lora_A\.weight has width 7, and the layer has 256 inputs"),
        ("zero_rank", "has rank 0"),
    ],
)
def test_cases(request: pytest.FixtureRequest, case: str, message: str) -> None:
    file = request.config.getoption("--reference").parent / "cases" / "lora" / f"{case}.safetensors"
    if not file.is_file():
        pytest.skip(f"no case at {file}")
    from acestep_flows.training.nano.architecture import configs

    config = configs(1, 1)["ace_step_transformer"]
    if message:
        with pytest.raises(CheckpointError, match=message):
            Adapter.load(file, config)
    else:
        assert len(Adapter.load(file, config).layers) == len(load_file(file)) // 2
