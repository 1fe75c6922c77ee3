"""Alembic's environment: runs migrations on the connection that `client.folder` hands over."""

from alembic import context

from foundation.database import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
