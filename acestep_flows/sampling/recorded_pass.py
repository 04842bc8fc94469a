"""One recorded forward pass: inputs that stay where they are, and the recording that reads them.

B rows, T frames, S condition tokens of its shape. A pass with fewer rows leaves the others as they are: they cost time
and harm nothing, as rows never touch.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from acestep_flows.model.all_rows import StackedMemory
from acestep_flows.model.cuda_graph import Recorder
from acestep_flows.model.padding import Padding
from acestep_flows.model.transfer import on_device
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.denoiser import DenoiserRow
from acestep_flows.sampling.joint_step import FRAME
from acestep_flows.sampling.pass_shapes import PassShape

TIMESTEP, LENGTH, TEMPERATURE, STRENGTH = range(4)
"""Rows of the numbers of a pass."""


def least_bytes(transformer: Transformer, shape: PassShape) -> int:
    """Bytes of the conditions that a recorded pass of `shape` holds: most of its inputs."""
    config = transformer.config
    return shape.rows * shape.tokens * config.num_layers * 2 * config.width * transformer.dtype.itemsize


class RecordedPass:
    """A pass of `transformer` of one shape.

    Attributes:
        nbytes: memory on the device.
    """

    def __init__(self, transformer: Transformer, shape: PassShape, device: torch.device, recorder: Recorder) -> None:
        config, dtype = transformer.config, transformer.dtype
        self.shape = shape
        self._latents = torch.zeros(shape.rows, *FRAME, shape.frames, device=device)
        self._numbers = torch.ones(4, shape.rows, device=device)
        heads, width = config.num_attention_heads, config.attention_head_dim
        memory = (shape.rows, config.num_layers, 2, heads, shape.tokens, width)
        self._memory = torch.zeros(memory, dtype=dtype, device=device)
        self._mask = torch.zeros(shape.rows, 1, 1, shape.tokens, dtype=dtype, device=device)
        self._control: Tensor | None = None
        if shape.controlled:
            self._control = torch.zeros(shape.rows, shape.frames, config.width, dtype=dtype, device=device)
        self._rows: list[tuple[weakref.ref[Any], weakref.ref[Any] | None]] = []
        self._rotation = transformer.rotation(shape.frames, device)  # the recording reads it, so it must not go
        work = self._work(transformer)
        self._recording = recorder.record(work)
        inputs = [self._latents, self._numbers, self._memory, self._mask, self._control]
        self.nbytes = self._recording.nbytes + sum(tensor.nbytes for tensor in inputs if tensor is not None)

    def __call__(self, latents: Tensor, rows: Sequence[DenoiserRow]) -> Tensor:
        """Velocities of latents (b, 8, 16, t) that fit into the shape. The next call overwrites them."""
        count, frames = len(rows), latents.shape[-1]
        self._latents[:count, ..., :frames].copy_(latents)
        numbers = [
            [row.query.timestep for row in rows],
            [float(row.query.frames) for row in rows],
            [row.query.erg_temperature for row in rows],
            [row.control_scale for row in rows],
        ]
        self._numbers[:, :count].copy_(on_device(torch.tensor(numbers), latents.device))
        self._take(rows)
        self._recording.replay()
        return self._recording.output[:count, ..., :frames]

    def _work(self, transformer: Transformer) -> Any:
        """The pass as a function of nothing: all that it reads stays where it is."""
        latents, numbers, control = self._latents, self._numbers, self._control
        memories = [
            StackedMemory(self._memory[:, block, 0], self._memory[:, block, 1], self._mask)
            for block in range(self._memory.shape[1])
        ]
        model = weakref.proxy(transformer)  # whoever drops the network also drops its recordings

        @torch.inference_mode()
        def work() -> Tensor:
            padding = Padding.on_device(numbers[LENGTH], latents.shape[-1], model.dtype)
            velocity, _ = model.denoise(
                latents, numbers[TIMESTEP], memories, padding, numbers[TEMPERATURE], control, numbers[STRENGTH]
            )
            made: Tensor = velocity
            return made

        return work

    def _take(self, rows: Sequence[DenoiserRow]) -> None:
        """Copy conditions and control of the rows whose song has changed since the last pass."""
        for index, row in enumerate(rows):
            if index < len(self._rows) and self._holds(self._rows[index], row):
                continue
            keys_values = row.memory.keys_values
            tokens = keys_values.shape[-2]
            self._memory[index, ..., :tokens, :].copy_(keys_values)
            self._memory[index, ..., tokens:, :].zero_()
            self._mask[index, ..., :tokens] = 0
            self._mask[index, ..., tokens:] = -torch.inf
            if self._control is not None:
                self._control[index].zero_()
                if row.control is not None:
                    self._control[index, : len(row.control)].copy_(row.control)
            held = weakref.ref(row.memory), None if row.control is None else weakref.ref(row.control)
            self._rows[index : index + 1] = [held]

    def _holds(self, held: tuple[weakref.ref[Any], weakref.ref[Any] | None], row: DenoiserRow) -> bool:
        memory, control = held
        return memory() is row.memory and (row.control is None if control is None else control() is row.control)
