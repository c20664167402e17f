"""Run migrations on the connection that `service.storage.database.migrate` holds."""

from alembic import context

from service.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # The caller holds the transaction and its lock, on SQLite too.
    transactional_ddl=True,
)
context.run_migrations()
