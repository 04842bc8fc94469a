"""The moving average of the weights. Previews and exports use it, as it is smoother than the weights of one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """Exponential moving average of named parameters, in fp32.

    The decay of step `n` is at most (1 + n) / (10 + n), so the first steps are averaged over a short time only.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self._decay = decay
        self._live = dict(parameters)
        self.weights = {name: parameter.detach().float().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after `step` steps to the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, [parameter.detach().float() for parameter in self._live.values()], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the live weights by the averaged ones inside the block."""
        live = {name: parameter.detach().clone() for name, parameter in self._live.items()}
        self._copy_to_live(self.weights)
        try:
            yield
        finally:
            self._copy_to_live(live)

    @torch.no_grad()
    def _copy_to_live(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(weights[name])
