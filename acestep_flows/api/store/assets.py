"""Assets: uploads and outputs that runs can read, by ids that tell nothing about where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.api.store.artifacts import Artifacts, Blob
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import AssetRecord
from acestep_flows.values import Value


class Assets:
    """Assets in the database, their files in the artifact store. Its methods block."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts

    def add(
        self,
        blob: Blob,
        kind: str,
        *,
        content_type: str,
        file_name: str,
        owner: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> AssetRecord:
        """A new asset of a file that is in the store (`Artifacts.upload`)."""
        raise NotImplementedError

    def get(self, id: str, owner: str | None = None) -> AssetRecord:
        """One asset; of another owner it does not exist. Raises NotFound."""
        raise NotImplementedError

    def value(self, id: str, kind: str, where: str = "asset", owner: str | None = None) -> Value:
        """The value in an asset.

        Raises:
            NotFound: there is no such asset.
            InputError: it holds another kind, or cannot be read.
        """
        raise NotImplementedError
