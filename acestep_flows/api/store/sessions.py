"""Sessions of browsers: a random token stands for an API key. Only the token's digest is stored."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from acestep_flows.api.store.audit import note
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.schema import SECRETS, SESSIONS

SESSION_SECONDS = 30 * 86_400.0


@dataclass(frozen=True)
class SessionRecord:
    """A session: the name of its key, and the key's digest, so that it ends when the key does."""

    owner: str
    key_digest: str
    expires_at: float


class Sessions:
    """The sessions in the database. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def open(self, owner: str, key_digest: str) -> str:
        """Open a session. Returns its token, and removes sessions that have expired."""
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._database.write_beside() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= now))
            row = {"digest": _digest(token), "owner": owner, "key_digest": key_digest}
            connection.execute(insert(SESSIONS).values(row | {"expires_at": now + SESSION_SECONDS}))
            note(connection, now, owner, "session.opened", owner)
        return token

    def find(self, token: str) -> SessionRecord | None:
        """The session of a token; None if there is none, or it has expired."""
        columns = SESSIONS.c.owner, SESSIONS.c.key_digest, SESSIONS.c.expires_at
        query = select(*columns).where(SESSIONS.c.digest == _digest(token), SESSIONS.c.expires_at > self._clock())
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else SessionRecord(*row)

    def end(self, token: str) -> None:
        """End a session, if it exists."""
        ended = delete(SESSIONS).where(SESSIONS.c.digest == _digest(token)).returning(SESSIONS.c.owner)
        with self._database.write_beside() as connection:
            if (owner := connection.execute(ended).scalar_one_or_none()) is not None:
                note(connection, self._clock(), owner, "session.ended", owner)


def link_secret(database: Database) -> bytes:
    """The secret that signs links to files, made when it is first needed. All processes of a server share it."""
    with database.read() as connection:
        stored = _stored_secret(connection)
    if stored is None:
        with database.write() as connection:
            stored = _stored_secret(connection)
            if stored is None:
                stored = secrets.token_hex(32)
                connection.execute(insert(SECRETS).values(name="links", value=stored))
    return bytes.fromhex(stored)


def _stored_secret(connection: Connection) -> str | None:
    secret: str | None = connection.execute(select(SECRETS.c.value).where(SECRETS.c.name == "links")).scalar()
    return secret


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
