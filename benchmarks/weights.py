"""The checkpoints that benchmarks run on: acestep-nano, random ones of two sizes, or a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.testing.random_checkpoint import MIDDLE, SMALL, write_random_checkpoint

RANDOM = {"small": SMALL, "middle": MIDDLE}


@contextmanager
def open_weights(name: str) -> Iterator[Path]:
    """The folder of the checkpoint `name`: "nano", "small", "middle" or a path. Random ones are temporary."""
    if name == "nano":
        yield embedded_checkpoint()
    elif name in RANDOM:
        with tempfile.TemporaryDirectory() as folder:
            write_random_checkpoint(Path(folder), RANDOM[name], seed=1)
            yield Path(folder)
    else:
        yield Path(name)
