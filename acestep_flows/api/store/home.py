"""The home folder: everything that a server needs after a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.assets import Assets
from acestep_flows.api.store.audit import Audit
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.deletion import Deletion
from acestep_flows.api.store.derived_files import DerivedFiles
from acestep_flows.api.store.event_feed import EventFeed
from acestep_flows.api.store.labels import Labels
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.previews import Previews
from acestep_flows.api.store.quotas import QuotaTable
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.sessions import Sessions
from acestep_flows.api.store.shared_place import check_same_place
from acestep_flows.api.store.switches import Switches
from acestep_flows.api.store.traces import Traces
from acestep_flows.api.store.usage import Usage
from acestep_flows.errors import StorageError
from acestep_flows.runtime.serving.saved_states import FOLDER as STATES
from acestep_flows.runtime.serving.saved_states import SavedStates

LEASE_SECONDS = 10.0
"""How long an executor keeps a run without renewing its lease."""


@dataclass(frozen=True)
class Home:
    """The store of one server. Every process of the server opens the same folder.

    Attributes:
        root: the folder.
        results: folder of finished nodes within `root`: the disk tier of the cache.
        states: saved states of unfinished songs, written by the processes of the pool.
    """

    root: Path
    results: Path
    database: Database
    artifacts: Artifacts
    assets: Assets
    runs: RunTable
    leases: Leases
    previews: Previews
    states: SavedStates
    labels: Labels
    feed: EventFeed
    deletion: Deletion
    derived: DerivedFiles
    sessions: Sessions
    usage: Usage
    audit: Audit
    switches: Switches
    quotas: QuotaTable
    traces: Traces

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        database: str | None = None,
        artifacts: str | None = None,
        lease: float = LEASE_SECONDS,
    ) -> Self:
        """Open the store in `root`. Creates the folder if it is missing, and migrates the tables.

        Args:
            database: URL of a PostgreSQL database; by default a SQLite file in `root`.
            artifacts: URL of S3-compatible storage; by default a folder in `root`.
            lease: seconds without renewal after which another executor may claim a run.

        Raises:
            StorageError: the folder or the database cannot be used.
            InputError: a URL is not valid.
            Conflict: servers of this database use another artifact store.
        """
        root = root.absolute()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{root}: the folder cannot be made: {error.strerror or error}") from error
        tables = Database(database) if database is not None else Database.file(root / "runs.sqlite")
        try:
            files = Artifacts(tables, artifacts if artifacts is not None else root / "artifacts")
            if database is not None:
                check_same_place(tables, files)
        except BaseException:
            tables.close()
            raise
        return cls(
            root=root,
            results=root / "results",
            database=tables,
            artifacts=files,
            assets=Assets(tables, files),
            runs=RunTable(tables),
            leases=Leases(tables, lease),
            previews=Previews(tables, files),
            states=SavedStates(root / STATES),
            labels=Labels(tables),
            feed=EventFeed(tables),
            deletion=Deletion(tables),
            derived=DerivedFiles(tables, files),
            sessions=Sessions(tables),
            usage=Usage(tables),
            audit=Audit(tables),
            switches=Switches(tables),
            quotas=QuotaTable(tables),
            traces=Traces(tables),
        )

    def stores_away(self) -> list[str]:
        """The names of the stores that do not answer now. Blocks, for a second at most where a store is away."""
        away = []
        stores: tuple[tuple[str, Callable[[], object]], ...] = (
            ("the run table", self.runs.counts),
            ("the artifact store", self.artifacts.check),
        )
        for name, ask in stores:
            try:
                ask()
            except StorageError:
                away.append(name)
        return away

    def close(self) -> None:
        """Close the database connections."""
        self.database.close()
