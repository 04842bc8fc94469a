"""On a CPU nothing is copied and nobody waits; what is done on a GPU was not run."""

from __future__ import annotations

import torch

from acestep_flows.model.copy_out import copied_out, mark, own_stream


def test_a_tensor_on_the_cpu_is_there_already() -> None:
    tensor = torch.arange(3)
    assert copied_out(tensor) is tensor
    assert mark(tensor.device) is None
    with own_stream(tensor.device):
        assert copied_out(tensor, None) is tensor
