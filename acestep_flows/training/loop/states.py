"""Saved states of a training run. One file holds everything that the next step depends on.

    OUT/states/step-00000500.pt

A file is written under another name, flushed to disk and renamed. So a kill at any moment leaves the last state whole.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, StorageError

NAME = re.compile(r"step-(\d{8})\.pt")
FORMAT = 1


class States:
    """The states in `folder`. Saving one removes all but the newest `keep`."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self._keep = folder, keep

    def steps(self) -> list[int]:
        """The steps that have a state, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(match[1]) for file in self.folder.iterdir() if (match := NAME.fullmatch(file.name)))

    def path(self, step: int) -> Path:
        """The file of the state after `step` steps."""
        return self.folder / f"step-{step:08d}.pt"

    def save(self, step: int, content: Mapping[str, Any]) -> Path:
        """Write the state after `step` steps, then remove the oldest ones.

        Raises:
            StorageError: it cannot be written; the earlier states are untouched.
        """
        target = self.path(step)
        try:
            self._sweep()
            with storage.new_file(target) as file:
                torch.save({"format": FORMAT, "step": step, **content}, file)
            for old in self.steps()[: -self._keep]:
                self.path(old).unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as a RuntimeError
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            last = self.steps()[-1:]
            remaining = f"; the state of step {last[0]} is untouched" if last else ""
            raise StorageError(f"{target}: cannot be written: {reason}{remaining}") from error
        return target

    def load(self, step: int) -> dict[str, Any]:
        """Read the state after `step` steps.

        Raises:
            CheckpointError: the file is damaged, or not a state of that step.
        """
        path = self.path(step)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] != FORMAT or content["step"] != step:
                raise KeyError("format")
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"no state of a training run: {error}", where=str(path)) from None
        return dict(content)

    def _sweep(self) -> None:
        """Remove the unfinished files of a killed process."""
        for unfinished in self.folder.glob(".*.part"):
            unfinished.unlink(missing_ok=True)
