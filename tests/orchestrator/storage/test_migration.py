"""Databases are brought up to date wholly or not at all, from every revision that there ever was."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, Table, inspect, text

from orchestrator.errors import ConflictError, OperationError
from orchestrator.storage import migration
from orchestrator.storage.database import Database
from orchestrator.storage.engine import open_engine
from orchestrator.storage.migration import drift, revisions, upgrade, write_revision
from orchestrator.storage.tables import METADATA
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage.postgres_server import new_postgres_database
from tests.orchestrator.storage.records import a_search, a_trial
from tests.orchestrator.storage.released_database import RELEASED, fill

HEAD = revisions()[-1]

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = {head!r}


def upgrade() -> None:
{body}
"""


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleetfit.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    return sqlite_url if request.param == "sqlite" else new_postgres_database()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    opened = open_engine(url)
    yield opened
    opened.dispose()


class Later:
    """A fleetfit that is one revision ahead."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def open(self, url: str, body: str) -> Database:
        shutil.copytree(migration.MIGRATIONS, self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        indented = "\n".join(f"    {line}" for line in body.splitlines())
        (self._folder / "versions" / "later.py").write_text(LATER.format(head=HEAD, body=indented))
        with self._monkeypatch.context() as patched:
            patched.setattr(migration, "MIGRATIONS", self._folder)
            return Database.open(url)


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(tmp_path / "later", monkeypatch)


def revision_of(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def test_the_migrations_make_what_the_tables_say(url: str, engine: Engine) -> None:
    Database.open(url).close()
    assert drift(engine) == []
    assert revision_of(engine) == HEAD


def test_a_difference_between_migrations_and_tables_is_seen(url: str, engine: Engine) -> None:
    Database.open(url).close()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE trials DROP COLUMN accuracy"))
        connection.execute(text("DROP INDEX ix_searches_name"))
    assert len(drift(engine)) == 2


def test_opening_again_changes_nothing(url: str) -> None:
    database = Database.open(url)
    database.run_blocking(fill)
    database.close()
    database = Database.open(url)
    assert len(database.run_blocking(lambda tx: tx.measurements.list())) == 1
    database.close()


def test_processes_that_open_an_empty_database_at_once_all_succeed(url: str, engine: Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        for database in list(threads.map(Database.open, [url] * 4)):
            database.close()
    assert revision_of(engine) == HEAD


@pytest.mark.parametrize("revision", revisions())
def test_a_database_of_every_revision_is_brought_up_to_date_and_keeps_its_rows(
    revision: str, tmp_path: Path, sqlite_url: str
) -> None:
    dump = RELEASED / f"{revision}.sql"
    assert dump.exists(), "write it: python -m tests.orchestrator.storage.released_database"
    connection = sqlite3.connect(tmp_path / "fleetfit.db")
    connection.executescript(dump.read_text())
    connection.close()

    database = Database.open(sqlite_url)
    assert database.run_blocking(_rows) == _rows_in(dump)
    database.close()
    engine = open_engine(sqlite_url)
    assert drift(engine) == []
    engine.dispose()


def _rows(tx: Transaction) -> Counter[str]:
    """How many rows each table has, every one of them read."""
    rows: Counter[str] = Counter()
    for repository in vars(tx).values():
        rows[repository.table.name] = len(repository._select())
    return rows


def _rows_in(dump: Path) -> Counter[str]:
    tables = [line.split('"')[1] for line in dump.read_text().splitlines() if line.startswith("INSERT INTO ")]
    return Counter(table for table in tables if table != "alembic_version")


def test_a_database_of_a_newer_fleetfit_is_refused_and_left_alone(url: str, engine: Engine, later: Later) -> None:
    database = later.open(url, 'op.create_table("audit", sa.Column("id", sa.Integer(), primary_key=True))')
    database.run_blocking(fill)
    database.close()
    with pytest.raises(ConflictError, match=r"newer fleetfit \(revision later\)") as refusal:
        Database.open(url)
    assert refusal.value.reason == "DATABASE_NEWER"
    assert "that version" in refusal.value.hint
    assert revision_of(engine) == "later"
    assert inspect(engine).has_table("audit")


def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str, engine: Engine, later: Later) -> None:
    Database.open(url).close()
    body = 'op.create_table("audit", sa.Column("id", sa.Integer(), primary_key=True))\nraise LookupError("enough")'
    with pytest.raises(LookupError, match="enough"):
        later.open(url, body)
    assert not inspect(engine).has_table("audit")
    assert revision_of(engine) == HEAD
    Database.open(url).close()


def test_a_table_that_is_made_anew_keeps_what_refers_to_it(url: str, later: Later) -> None:
    search = a_search(idempotency_key="once")
    trial = a_trial(search)

    def work(tx: Transaction) -> None:
        tx.searches.add(search)
        tx.trials.add(trial)

    database = Database.open(url)
    database.run_blocking(work)
    database.close()
    body = 'with op.batch_alter_table("searches") as batch:\n    batch.alter_column("reason", nullable=True)'
    database = later.open(url, body)
    assert database.run_blocking(lambda tx: tx.searches.get(search.id)) == search
    assert database.run_blocking(lambda tx: tx.trials.list(search.id)) == (trial,)
    # Nor are its conditions lost.
    for other in (a_search(), a_search()):
        database.run_blocking(lambda tx, other=other: tx.searches.add(other))
    with pytest.raises(ConflictError):
        database.run_blocking(lambda tx: tx.searches.add(a_search(idempotency_key="once")))
    database.close()


def test_a_migration_that_would_leave_orphans_is_refused(sqlite_url: str, later: Later) -> None:
    database = Database.open(sqlite_url)
    database.run_blocking(fill)
    database.close()
    with pytest.raises(OperationError, match="a row of trials lost its owner"):
        later.open(sqlite_url, 'op.execute("DELETE FROM searches")')
    database = Database.open(sqlite_url)
    assert len(database.run_blocking(lambda tx: tx.searches.list())) == 1
    database.close()


def test_references_are_enforced_after_a_migration(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    engine.dispose()


def test_the_next_revision_is_written_from_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, engine: Engine
) -> None:
    monkeypatch.setattr(migration, "MIGRATIONS", shutil.copytree(migration.MIGRATIONS, tmp_path / "migrations"))
    upgrade(engine)
    audit: Table[Any] = Table("audit", METADATA, Column("id", Integer, primary_key=True))
    try:
        (path,) = write_revision("Add the audit log", engine)
        assert path.name == f"{int(HEAD) + 1:04d}_add_the_audit_log.py"
        upgrade(engine)
        assert inspect(engine).has_table("audit")
        assert drift(engine) == []
    finally:
        METADATA.remove(audit)
