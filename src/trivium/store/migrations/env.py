"""What Alembic runs: the steps, on the connection that `trivium.store.upgrade` gives it."""

from alembic import context

from trivium.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
