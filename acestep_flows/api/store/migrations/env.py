"""Alembic runs this file on the connection that `Database` passes to it, within the transaction of `Database`."""

from __future__ import annotations

from alembic import context

from acestep_flows.api.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
