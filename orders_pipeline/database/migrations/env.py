"""Alembic's entry: runs the migrations on the connection that database.migrate hands over."""

from alembic import context

from orders_pipeline.database.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    # One transaction for all, the caller's: either the whole upgrade is there or none of it.
    transaction_per_migration=False,
)
context.run_migrations()
