"""The Ray under a pool, as those see it who watch the pool: started by this process, or joined."""

from __future__ import annotations

from typing import Protocol

import psutil


class PoolRay(Protocol):
    """A Ray that a pool is on."""

    def processes(self) -> set[psutil.Process]:
        """Processes of it that this one may kill."""

    def problem(self) -> str:
        """Why it does not work now, but may go on; empty if it works."""

    def fault(self) -> str:
        """Why it can work no more; empty while it can."""

    def kill(self) -> None:
        """End at once what this process started on it, if that can be done."""
