"""A moving average of weights, which is what is previewed and exported: smoother than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """Exponential moving average of named parameters, in fp32. Early on it forgets faster, so that it need not wait."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self._decay = decay
        self._live = dict(parameters)
        self.weights = {name: parameter.detach().float().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        kept = list(self.weights.values())
        torch._foreach_lerp_(kept, [parameter.detach().float() for parameter in self._live.values()], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the averaged weights in place of the live ones for a while."""
        kept = {name: parameter.detach().clone() for name, parameter in self._live.items()}
        self._put(self.weights)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(weights[name])
