from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.model.adapters import Adapter
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.adapted_networks import CACHE_SIZE, AdapterCache, LruCache


def test_made_once_and_the_oldest_is_dropped() -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    recent: LruCache[str] = LruCache(2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert recent.get(name, lambda name=name: make(name)) == name  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]


def test_an_adapter_is_read_once_for_all_its_strengths(small: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    load, read, made = Adapter.load, list[str](), list[float]()

    def noted(folder: Path, config: Mapping[str, Any], base: str) -> Adapter:
        read.append(folder.name)
        return load(folder, config, base)

    monkeypatch.setattr(Adapter, "load", noted)
    refined: AdapterCache[str] = AdapterCache()

    def under(name: str | None, weight: float) -> str:
        def twin(adapter: Adapter) -> str:
            made.append(weight)
            return f"{len(adapter.layers)} layers, {weight}"

        return refined.under(small, "base", name, weight, twin)

    assert under(None, 1.0) == "base"
    for weight in (0.1, 0.2, 0.3, 0.4, 0.5, 0.5):
        assert under("voice", weight).endswith(f"layers, {weight}")
    assert read == ["voice"]
    assert made == [0.1, 0.2, 0.3, 0.4, 0.5]
    under("voice", 0.1)  # the oldest strength of more than are kept
    assert len(made) == CACHE_SIZE + 2
    assert read == ["voice"]


@pytest.mark.parametrize("own", [True, False])
def test_who_hears_an_adapter_of_other_weights_is_told(
    small: Checkpoint, small_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    root = shutil.copytree(small_root, tmp_path / "checkpoint")
    voice = Adapter.read(root / "adapters" / "voice")
    base = small.digest("ace_step_transformer") if own else "0" * 64
    dataclasses.replace(voice, base=base).save(root / "adapters" / "voice")
    with caplog.at_level(logging.WARNING):
        AdapterCache[str]().under(Checkpoint.open(root), "base", "voice", 1.0, lambda adapter: adapter.base)
    assert ("trained on other weights" in caplog.text) is not own
