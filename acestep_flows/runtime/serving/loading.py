"""What the processes of a pool are loading: each writes it to a file, and the server that waits for them reads it."""

from __future__ import annotations

import contextlib
from pathlib import Path


class LoadingNotes:
    """The file of one start. Processes add lines, one reader takes them.

    Args:
        path: the file. `open` makes it; where it is missing nothing is written, because nobody reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def open(self) -> None:
        """Make the file, empty.

        Raises:
            OSError: it cannot be made.
        """
        self._path.write_bytes(b"")
        self._read = 0

    def add(self, line: str) -> None:
        """Add a line, if somebody reads."""
        with contextlib.suppress(OSError), self._path.open("r+b") as file:
            file.seek(0, 2)
            file.write(f"{line}\n".encode())

    def take(self) -> list[str]:
        """The lines that were added since the last call."""
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
            self._read += len(whole) + 1 if whole else 0
            return whole.decode(errors="replace").splitlines()
        return []

    def close(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
