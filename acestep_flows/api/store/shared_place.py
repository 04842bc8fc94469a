"""Servers that share a run table must share an artifact store, or each would remove the other's rows.

A mark in the store is compared with the one that the table knows.
"""

from __future__ import annotations

import secrets

from sqlalchemy import insert, select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.schema import BLOBS, SECRETS
from acestep_flows.errors import Conflict

_NAME = "artifacts"


def check_same_place(database: Database, artifacts: Artifacts) -> None:
    """Check that the table was not used with another artifact store before. The first store is noted.

    Raises:
        Conflict: it was.
        StorageError: the store cannot be reached.
    """
    known_mark = select(SECRETS.c.value).where(SECRETS.c.name == _NAME)
    with database.write() as connection:
        mine, known = artifacts.mark(), connection.execute(known_mark).scalar()
        has_files = connection.execute(select(BLOBS.c.digest).limit(1)).first() is not None
        if known is not None and mine != known and (mine is not None or has_files):
            raise Conflict(
                "--database: its servers use another artifact store; give every server of a table the same "
                "--artifacts, an s3://... URL or the file:///... URL of a folder that all of them mount"
            )
        if known is None:
            known = mine or secrets.token_hex(16)
            connection.execute(insert(SECRETS).values(name=_NAME, value=known))
        if mine is None:
            artifacts.set_mark(known)
