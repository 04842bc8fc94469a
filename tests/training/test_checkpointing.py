"""Gradient checkpointing in every kind that trains with the transformer: the same gradients from less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.song_task import SongTask
from tests.training.encoded_songs import LOOP, write_songs
from tests.training.kinds.test_text_states import KINDS, task_of


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), tracks=("mix", "vocal"))


def compute_gradients(task: SongTask) -> tuple[Tensor, dict[str, Tensor], int]:
    """The loss of a batch, its gradients, and the bytes of saved activations."""
    weights = {tensor.data_ptr() for module in task.modules().values() for tensor in module.parameters()}
    saved: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            saved[tensor.data_ptr()] = tensor.nbytes
        return tensor

    for module in task.modules().values():
        module.train()
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        loss = task.loss(task.batch(0))["loss"]
    loss.backward()
    gradients = {
        f"{key}.{name}": parameter.grad
        for key, module in task.modules().items()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    return loss.detach(), gradients, sum(saved.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_gradients_from_less_memory(kind: str, songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    block = training_forward._block

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments[0])
        return block(*arguments)

    monkeypatch.setattr(training_forward, "_block", counted)
    plain = compute_gradients(task_of(kind, songs))
    blocks = len(calls)
    assert blocks == len(set(map(id, calls)))
    checkpointed = compute_gradients(task_of(kind, songs, loop=LOOP | {"gradient_checkpointing": True}))
    assert len(calls) - blocks == 2 * blocks, "every block is computed again in the backward pass"
    assert checkpointed[2] < plain[2] / 2
    torch.testing.assert_close(checkpointed[0], plain[0])
    assert checkpointed[1].keys() == plain[1].keys()
    assert checkpointed[1]
    for name, gradient in plain[1].items():
        torch.testing.assert_close(checkpointed[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_a_preview_does_not_use_checkpointing(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("lora", songs, loop=LOOP | {"gradient_checkpointing": True})
    monkeypatch.setattr(training_forward, "checkpoint", None)  # calling it would fail
    with torch.no_grad():
        task.loss(task.batch(0))
