"""The model inside the package: complete, small, and with the extras that the shipped graphs need."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from acestep_flows.errors import CheckpointError
from acestep_flows.model import embedded as module
from acestep_flows.model.checkpoint import PARTS, Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.extras import Kind


def test_it_opens_and_is_small(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(embedded_checkpoint(), cache=tmp_path)
    assert all(checkpoint.digest(part) for part in PARTS)
    assert checkpoint.lyric_vocab.parent == checkpoint.root
    assert sum(file.stat().st_size for file in checkpoint.root.rglob("*")) < 40e6


@pytest.mark.parametrize(
    ("kind", "name"),
    [("adapters", "lyric2vocal"), ("controls", "stemgen"), ("controls", "singing2accompaniment")],
)
def test_it_contains_the_extras_of_the_shipped_graphs(kind: Kind, name: str) -> None:
    extra = Checkpoint.open(embedded_checkpoint()).extras.find(kind, name)
    assert extra.is_relative_to(embedded_checkpoint())


def test_its_weights_have_the_dtypes_and_the_name_of_the_card() -> None:
    """bfloat16, except where the published layout has float32."""
    for file in embedded_checkpoint().rglob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            dtypes = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        assert dtypes <= {"BF16", "F32"}
    card = (embedded_checkpoint() / "README.md").read_text(encoding="utf-8")
    assert module.NAME in card
    assert "Licence" in card


def test_its_default_guidance_is_cfg() -> None:
    config = json.loads((embedded_checkpoint() / "ace_step_transformer" / "config.json").read_text())
    assert config["sampling"]["guidance"] == "cfg"


def test_an_installation_without_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"gone: the embedded model is not in .* \(allowed: install"):
        embedded_checkpoint()
