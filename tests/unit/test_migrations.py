"""The schema: made by migrations, equal to the models, whoever makes it first."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import inspect, text

from app.database import MIGRATIONS, Base, Db, engine_of, migrate, newest_revision
from app.errors import SettingsError
from app.models import TryOnSession
from app.states import Status


def test_the_migrations_make_what_the_models_say(db: Db) -> None:
    with engine_of(db).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )

        assert compare_metadata(context, Base.metadata) == []


def test_the_database_knows_every_state_and_no_other(db: Db) -> None:
    with db() as tx:
        labels = tx.scalars(text("SELECT unnest(enum_range(NULL::tryon_status))::text"))

        assert set(labels) == set(Status)


def test_the_four_named_indexes_are_there(db: Db) -> None:
    indexes = inspect(engine_of(db)).get_indexes(TryOnSession.__tablename__)

    assert {
        "idx_status": ["status"],
        "idx_user_token": ["user_token"],
        "idx_expires_at": ["expires_at"],
        "idx_status_created": ["status", "created_at"],
    }.items() <= {index["name"]: index["column_names"] for index in indexes}.items()


def test_every_migration_can_be_taken_back_and_made_again(db: Db) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine_of(db).begin() as connection:
        config.attributes["connection"] = connection

        command.downgrade(config, "base")
        tables = inspect(connection).get_table_names()
        command.upgrade(config, "head")

    assert tables == ["alembic_version"]
    assert TryOnSession.__tablename__ in inspect(engine_of(db)).get_table_names()


def test_no_migration_that_is_taken_back_loses_a_key_of_pictures(db: Db) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    session = "INSERT INTO tryon_sessions (id, user_token, engine, expires_at, wrapped_key)"
    with engine_of(db).connect() as connection:
        connection.execute(text(f"{session} VALUES (gen_random_uuid(), '', '', now(), 'x')"))
        config.attributes["connection"] = connection

        with pytest.raises(CommandError, match="encrypted"):
            command.downgrade(config, "0001")


def test_two_processes_may_migrate_at_once(db: Db) -> None:
    with engine_of(db).begin() as connection:
        for table in ("webhook_deliveries", "tryon_sessions", "deletion_receipts"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("DROP TYPE tryon_status"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [db] * 4))

    assert TryOnSession.__tablename__ in inspect(engine_of(db)).get_table_names()


def test_the_newest_revision_is_known_without_alembic() -> None:
    assert newest_revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_a_start_that_has_nothing_to_migrate_needs_no_alembic(
    db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alembic", None)

    migrate(db)


def test_a_database_of_a_newer_version_is_refused_in_words(db: Db) -> None:
    with engine_of(db).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SettingsError, match="another version"):
        migrate(db)
