"""Alembic runs this file on the connection that `Database` passes to it, within the transaction of `Database`."""

from __future__ import annotations

from alembic import context

from acestep_flows.api.store.schema import METADATA, SCHEMA_VERSION

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=SCHEMA_VERSION.name,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
