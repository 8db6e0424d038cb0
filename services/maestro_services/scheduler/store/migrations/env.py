"""Alembic's entry point; the store hands in the connection."""

from alembic import context

from maestro_services.scheduler.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
