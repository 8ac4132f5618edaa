"""Alembic's entry: runs the migrations on the connection that the caller hands over."""

from alembic import context

from parecido.indexer.catalogue.sqlite.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
