"""The home folder: all that a restart needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.assets import Assets
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.runs import RunTable


@dataclass(frozen=True)
class Home:
    """The store of one server; every process that belongs to it opens the same folder.

    Attributes:
        root: the folder.
        results: folder in it of finished nodes, the disk tier of the cache.
    """

    root: Path
    results: Path
    database: Database
    artifacts: Artifacts
    assets: Assets
    runs: RunTable

    @classmethod
    def open(cls, root: Path, *, database: str | None = None, artifacts: str | None = None) -> Self:
        """Open the store in `root`, made if missing, its tables brought up to date.

        Args:
            database: URL of a PostgreSQL database; by default a SQLite file in `root`.
            artifacts: URL of an S3-compatible place; by default a folder in `root`.

        Raises:
            StorageError: the folder or the database cannot be used.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the database."""
        raise NotImplementedError
