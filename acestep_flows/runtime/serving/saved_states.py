"""Songs half done, on disk: what a killed process had reached, by the cache key of the call.

Who made a call drops its state when it is over. What nobody drops, for its process or its run was ended elsewhere, is
swept: by age, and by the bytes of all, the longest unused first. A state that is gone costs the song its steps so far.
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows import storage
from acestep_flows.errors import InputError

if TYPE_CHECKING:
    from acestep_flows.sampling.trajectory import State

FOLDER = "states"
"""In a server's home folder."""

STALE_SECONDS = 7 * 86400.0
"""Age at which a state is taken to be of a call that nobody will make again."""

LARGEST_BYTES = 2 << 30
"""Of all states together: some hundred of the longest songs."""

SWEEP_SECONDS = 600.0
"""Least time between two sweeps on the way, when states are written."""

_SUFFIX = ".state"


class SavedStates:
    """A folder of states, each replaced whole. Its methods block.

    Args:
        root: the folder, made when first written to.
        largest: bytes of all states together.
    """

    def __init__(self, root: Path, largest: int = LARGEST_BYTES) -> None:
        self.root, self._largest = root, largest
        self.sweep(time.time() - STALE_SECONDS)

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
        if time.monotonic() > self._next_sweep:
            self.sweep(time.time() - STALE_SECONDS)

    def drop(self, key: str) -> None:
        """Forget the state."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def sweep(self, before: float) -> int:
        """Remove the states last written before that time (seconds since the epoch), then the oldest beyond the bytes.

        Returns:
            How many went.
        """
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        found = []
        for path in self.root.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # its song ended meanwhile
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        room: float = self._largest
        gone = 0
        for written, size, path in sorted(found, reverse=True):
            room = room - size if written >= before else -math.inf
            if room < 0:
                with contextlib.suppress(OSError):
                    path.unlink()
                    gone += 1
        return gone

    def _path(self, key: str) -> Path:
        return self.root / (key + _SUFFIX)
