"""Gradient checkpointing, in every kind that goes through the transformer: less is kept, nothing else differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.song_task import SongTask
from tests.training.encoded_songs import LOOP, write_songs
from tests.training.kinds.test_text_states import OWN, task_of


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), tracks=("mix", "vocal"))


def derived(task: SongTask) -> tuple[Tensor, dict[str, Tensor], int]:
    """The loss of a batch, its gradients, and the bytes that were kept for them, weights not counted."""
    weights = {tensor.data_ptr() for module in task.modules().values() for tensor in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    for module in task.modules().values():
        module.train()
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = task.loss(task.batch(0))["loss"]
    loss.backward()
    found = {
        f"{key}.{name}": parameter.grad
        for key, module in task.modules().items()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    return loss.detach(), found, sum(kept.values())


@pytest.mark.parametrize("kind", OWN)
def test_the_same_gradients_from_less_memory(kind: str, songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    block = training_forward._block

    def counted(*given: Any) -> Tensor:
        calls.append(given[0])
        return block(*given)

    monkeypatch.setattr(training_forward, "_block", counted)
    plain = derived(task_of(kind, songs))
    blocks = len(calls)
    assert blocks == len(set(map(id, calls)))
    thrifty = derived(task_of(kind, songs, loop=LOOP | {"gradient_checkpointing": True}))
    assert len(calls) - blocks == 2 * blocks, "every block is computed once more on the way back"
    assert thrifty[2] < plain[2] / 2
    torch.testing.assert_close(thrifty[0], plain[0])
    assert thrifty[1].keys() == plain[1].keys()
    assert thrifty[1]
    for name, gradient in plain[1].items():
        torch.testing.assert_close(thrifty[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_a_preview_computes_nothing_twice(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("lora", songs, loop=LOOP | {"gradient_checkpointing": True})
    monkeypatch.setattr(training_forward, "checkpoint", None)  # calling it would fail
    with torch.no_grad():
        task.loss(task.batch(0))
