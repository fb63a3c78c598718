"""Bring the tables of a database up to date, with Alembic, when it is opened."""

from pathlib import Path

from sqlalchemy import inspect, text

from trivium.errors import UserError
from trivium.store import migrations
from trivium.store.database import Store


def upgrade(store: Store, *, create: bool = True) -> None:
    """Run the steps that the database lacks, all or none.

    Args:
        store: where.
        create: also in a database with nothing in it.

    Raises:
        UserError: a newer trivium has made it, or it is another program's database; or there is
            nothing in it.
    """
    found = _version(store)
    if found == migrations.HEAD:
        return
    if found is None and not create:
        raise UserError(f"{store.url}: an empty database; make it with `trivium label serve`")
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise UserError(f"{store.url}: a newer trivium made it (step {found}); update trivium")
    with store.gate, store.writer.begin() as connection:
        if connection.dialect.name == "postgresql":  # two processes may open a new database at once
            connection.execute(text("SELECT pg_advisory_xact_lock(7411)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(store: Store) -> str | None:
    with store.engine.begin() as connection:
        tables = inspect(connection).get_table_names()
        if "alembic_version" not in tables:
            if tables:
                raise UserError(f"{store.url}: another program's database; give a file of its own")
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
