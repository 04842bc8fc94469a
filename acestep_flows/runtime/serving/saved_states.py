"""States of unfinished songs, on disk, by the cache key of their call. The life of a state has one rule:

- Written by the process that denoises the song: every `save_every` steps, and when a call in quarantine stops.
- Read by whichever process is given the same call again.
- Removed by `end`, when the call is over: its answer was delivered, it failed (both known to the process that worked on
  it), or its run ended without it (known to the executor). A call that was cancelled is not over: another run may want
  the same song. Nor is one whose process died: its state is what the next attempt goes on from.
- After a kill nobody may be left to call `end`. `sweep` removes such states: the old ones first by age, then by bytes.
  It runs when a process opens the folder, now and then while states are written, and with the server's retention.

If a state is lost, its song starts again from step 0; the song does not fail.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows import storage
from acestep_flows.errors import InputError

if TYPE_CHECKING:
    from acestep_flows.sampling.trajectory import State

FOLDER = "states"
"""Name of the folder in a server's home folder."""

STALE_SECONDS = 7 * 86400.0
"""Age at which a state is removed: nobody will make its call again."""

MAX_BYTES = 2 << 30
"""Bytes of all states together: some hundred of the longest songs."""

SWEEP_SECONDS = 600.0
"""Least time between two sweeps while states are written."""

_SUFFIX = ".state"


class SavedStates:
    """A folder of states, each written whole or not at all. Its methods block; any thread may call them.

    Args:
        root: the folder, made when first written to.
        max_bytes: bytes of all states together.
    """

    def __init__(self, root: Path, max_bytes: int = MAX_BYTES) -> None:
        self.root, self._max_bytes = root, max_bytes
        self.sweep(time.time() - STALE_SECONDS)

    def read(self, key: str) -> State | None:
        """The state saved under `key`; None without one, and for one that is damaged."""
        from acestep_flows.sampling.trajectory import State

        path = self._path(key)
        try:
            # What is no file of ours, such as a pipe, might never end.
            is_ours = path.is_file() and path.stat().st_size <= self._max_bytes
            return State.load(path.read_bytes()) if is_ours else None
        except (OSError, InputError):
            return None

    def write(self, key: str, state: State) -> None:
        """Save the state in place of an earlier one; raises StorageError."""
        storage.write(self._path(key), state.save())
        if time.monotonic() > self._next_sweep:
            self.sweep(time.time() - STALE_SECONDS)

    def end(self, keys: Iterable[str]) -> None:
        """Remove the states of calls that are over. Another run that still waits for the same song saves it again."""
        for key in keys:
            with contextlib.suppress(OSError):
                self._path(key).unlink()

    def sweep(self, before: float) -> int:
        """Remove states that were last written before that time (seconds since the epoch), then those beyond the bytes.

        Returns:
            How many were removed.
        """
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        states = []
        for path in self.root.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # its call ended meanwhile
                status = path.stat()
                states.append((status.st_mtime, status.st_size, path))
        bytes_left: float = self._max_bytes
        removed = 0
        for written, size, path in sorted(states, reverse=True):
            bytes_left = bytes_left - size if written >= before else -math.inf
            if bytes_left < 0:
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, key: str) -> Path:
        return self.root / (key + _SUFFIX)
