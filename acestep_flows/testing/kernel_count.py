"""Count the kernels that a GPU would run, without one: tensors on the `meta` device have shapes and no content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

FUSED = (torch.ops.aten.rms_norm.default, torch.ops.aten.scaled_dot_product_attention.default)
"""One kernel on a GPU, though `meta` would take them apart."""
NO_KERNEL = ("aten::empty", "aten::new_empty", "aten::empty_like", "aten::empty_strided", "aten::_unsafe_view")
"""Operations that make a tensor or a view and compute nothing."""


class KernelCount(TorchDispatchMode):
    """Counts kernels and operations while it is entered. Whatever reads a tensor's content raises on `meta`.

    Attributes:
        kernels: operations that compute, each a launch on a GPU, by name.
        operations: all operations, views included.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: Counter[str] = Counter()
        self.operations = 0

    @property
    def total(self) -> int:
        """Kernels in all."""
        return sum(self.kernels.values())

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if operation not in FUSED:
            with self:  # a composite operation is what it consists of
                result = operation.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        self.operations += 1
        name = operation._schema.name
        if not operation.is_view and name not in NO_KERNEL:
            self.kernels[name] += 1
        result = operation(*args, **kwargs)
        if operation is FUSED[1]:  # on a GPU it keeps the layout of the queries
            return torch.empty_like(args[0]).copy_(result)
        return result
