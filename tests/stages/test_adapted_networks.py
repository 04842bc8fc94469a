from __future__ import annotations

import asyncio
import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.errors import CheckpointError, FlowsError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.content import fingerprint
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.adapted_networks import CACHE_SIZE, AdapterCache, LruCache
from acestep_flows.stages.registry import stages


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


def with_other_numbers(folder: Path) -> None:
    """Replace an adapter by another of the same shapes."""
    voice = Adapter.read(folder)
    layers = {name: dataclasses.replace(layer, up=layer.up * 2) for name, layer in voice.layers.items()}
    dataclasses.replace(voice, layers=layers).save(folder)


def test_an_adapter_that_is_replaced_while_it_is_read_is_not_kept(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(small_root, tmp_path / "checkpoint")
    checkpoint, load = Checkpoint.open(root), Adapter.load

    def replaced(folder: Path, config: Mapping[str, Any], base: str) -> Adapter:
        with_other_numbers(folder)
        return load(folder, config, base)

    networks: AdapterCache[str] = AdapterCache()
    with monkeypatch.context() as patched:
        patched.setattr(Adapter, "load", replaced)
        with pytest.raises(CheckpointError, match="changed while they were read"):
            networks.under(checkpoint, "base", "voice", 1.0, lambda adapter: adapter.digest)
    expected = Adapter.read(root / "adapters" / "voice").digest
    assert networks.under(checkpoint, "base", "voice", 1.0, lambda adapter: adapter.digest) == expected


def test_a_song_of_a_replaced_adapter_is_not_stored_under_the_key_of_the_old_one(
    small_root: Path, tmp_path: Path
) -> None:
    """The adapter is replaced after the key was made and before the stage loads it. The next run is right."""
    root = shutil.copytree(small_root, tmp_path / "checkpoint")
    library = Library(working=None)
    scope = checked(library.load("text2music"), stages(), library.nested)
    plan = lay_out(scope, {"tags": "funk", "duration": 0.5, "steps": 2, "seed": 1, "adapter": "voice"})
    folder = root / "adapters" / "voice"

    class Late(LocalRunner):
        late = True

        async def call(self, call: StageCall, progress: CallProgress) -> Reply:
            if self.late and call.stage.name == "sample":
                self.late = False
                with_other_numbers(folder)
            return await super().call(call, progress)

    async def song(runner: LocalRunner) -> Any:
        return fingerprint((await run_plan(Scheduler(stages(), runner), plan)).outputs["audio"])

    async def both() -> tuple[Any, Any]:
        with Late(Checkpoint.open(root)) as runner, LocalRunner(Checkpoint.open(root)) as fresh:
            scheduler = Scheduler(stages(), runner)
            with pytest.raises(FlowsError, match="changed during the run"):
                await run_plan(scheduler, plan)
            again = await run_plan(scheduler, plan)
            return fingerprint(again.outputs["audio"]), await song(fresh)

    again, expected = asyncio.run(both())
    assert again == expected
