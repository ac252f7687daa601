"""Bringing a database up to date, and telling whether the migrations make what ``tables.py`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from orchestrator.errors import ConflictError, OperationError
from orchestrator.storage.database_errors import describe
from orchestrator.storage.tables import METADATA

MIGRATIONS = Path(__file__).with_name("migrations")

# Any number, the same in every fleetfit: the lock under which one process migrates while the others wait.
_MIGRATION_LOCK = 7_443_001


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Brings the database to ``revision``, wholly or not at all. Processes that try at once wait for each other.

    Raises:
        ConflictError: The database was written by a newer fleetfit (reason ``DATABASE_NEWER``).
        OperationError: A migration would leave rows that refer to nothing.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            _upgrade_sqlite(connection, engine, revision)
        else:
            _upgrade_postgres(connection, engine, revision)


def _upgrade_sqlite(connection: Connection, engine: Engine, revision: str) -> None:
    # SQLite alters a table by making a new one; with references enforced, dropping the old one would delete what refers
    # to it. This cannot be changed inside a transaction.
    _enforce_references(connection, enforce=False)
    try:
        with connection.begin():
            _upgrade(connection, engine, revision)
            _check_references(connection, engine)
    finally:
        _enforce_references(connection, enforce=True)


def _upgrade_postgres(connection: Connection, engine: Engine, revision: str) -> None:
    # Who waited for the lock must then see what the one before did, which a serialisable transaction would not.
    connection = connection.execution_options(isolation_level="READ COMMITTED")
    with connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        _upgrade(connection, engine, revision)


def _upgrade(connection: Connection, engine: Engine, revision: str) -> None:
    _check_known(connection, engine)
    command.upgrade(_config(connection), revision)


def drift(engine: Engine) -> list[Any]:
    """What would have to change for the database to be what ``tables.py`` says; empty: nothing."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences: list[Any] = compare_metadata(context, METADATA)
        return differences


def revisions() -> list[str]:
    """All revisions, oldest first."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def write_revision(message: str, engine: Engine) -> list[Path]:
    """Writes the migration that leads from the database behind ``engine`` to ``tables.py``; it wants a review."""
    with engine.connect() as connection:
        written = command.revision(_config(connection), message, autogenerate=True, rev_id=_next_revision())
    scripts = written if isinstance(written, list) else [written]
    return [Path(script.path) for script in scripts if script is not None]


def _next_revision() -> str:
    return f"{len(revisions()) + 1:04d}"


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _check_known(connection: Connection, engine: Engine) -> None:
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and present not in revisions():
        raise ConflictError(
            f"the database {describe(engine.url)} was written by a newer fleetfit (revision {present})",
            hint="start that version, or name another database",
            reason="DATABASE_NEWER",
        )


def _enforce_references(connection: Connection, *, enforce: bool) -> None:
    driver_connection: Any = connection.connection.driver_connection
    driver_connection.execute(f"PRAGMA foreign_keys = {'ON' if enforce else 'OFF'}")


def _check_references(connection: Connection, engine: Engine) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).first()
    if broken is not None:
        message = (
            f"the database {describe(engine.url)} cannot be brought up to date: a row of {broken[0]} lost its owner"
        )
        raise OperationError(message, hint="restore a copy of it, and report this")
