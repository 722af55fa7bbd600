"""Runs the migrations on the connection that `app.database.migrate` hands over.

From the command line (`alembic check`, `alembic revision --autogenerate`) it opens the database of
the settings itself.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from app import models  # noqa: F401 - fills the metadata
from app.database import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_command_line() -> None:
    # The server, which comes here at every start, has all of this already.
    from app.config import load_settings  # noqa: PLC0415
    from app.database import engine_of  # noqa: PLC0415
    from app.runtime import open_runtime  # noqa: PLC0415

    with open_runtime(load_settings()) as runtime, engine_of(runtime.db).begin() as connection:
        run(connection)


if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    run_from_command_line()
