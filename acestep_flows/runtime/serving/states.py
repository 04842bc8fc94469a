"""Songs half done, on disk: what a killed process had reached, by the cache key of the call."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows import storage
from acestep_flows.errors import InputError

if TYPE_CHECKING:
    from acestep_flows.sampling.trajectory import State

STALE_SECONDS = 7 * 86400.0
"""Age at which a state is taken to be of a call that nobody will make again."""

_SUFFIX = ".state"


class SavedStates:
    """A folder of states, each replaced whole. Its methods block.

    Args:
        root: the folder, made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for path in root.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - STALE_SECONDS:
                    path.unlink()

    def read(self, key: str) -> State | None:
        """The state saved under `key`; None without one, and for one that is damaged."""
        from acestep_flows.sampling.trajectory import State

        try:
            return State.load(self._path(key).read_bytes())
        except (OSError, InputError):
            return None

    def write(self, key: str, state: State) -> None:
        """Save the state in place of an earlier one; raises StorageError."""
        storage.write(self._path(key), state.save())

    def drop(self, key: str) -> None:
        """Forget the state."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.root / (key + _SUFFIX)
