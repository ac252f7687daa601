"""The agent's database file: opened so that a power cut loses nothing, and replaced when it is damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from agent.durable_file import storage_error, sync_directory
from agent.errors import AgentError, ConfigurationError, NoSpaceError

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    attempt INTEGER NOT NULL,
    lease_s REAL NOT NULL,
    assigned_at REAL NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0,
    request TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    payload BLOB NOT NULL
);
"""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the database at ``path``; what it commits is on the disk.

    A file that is damaged, or written by a newer agent, is moved aside and an empty one takes its place: the
    orchestrator leases the jobs anew, and a device that refuses to start would help nobody.

    Raises:
        ConfigurationError: The directory cannot be written.
        NoSpaceError: The disk is full.
    """
    try:
        return _open(path)
    except sqlite3.OperationalError as error:
        if not _is_damage(error):
            raise database_error(error, path) from error
        reason: Exception = error
    except sqlite3.DatabaseError as error:
        reason = error
    aside = _move_aside(path)
    _log.error("%s cannot be used (%s): moved to %s, starting with an empty one", path, reason, aside.name)
    try:
        return _open(path)
    except sqlite3.Error as error:
        raise database_error(error, path) from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of the block, or nothing of it.

    Raises:
        NoSpaceError: The disk is full; nothing was changed.
        ConfigurationError: The file cannot be written; nothing was changed.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # Some errors, a full disk among them, have rolled it back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise database_error(error, Path("state.db")) from error


def database_error(error: sqlite3.Error, path: Path) -> AgentError:
    """What to tell the user when the database could not be used."""
    if "full" in str(error):
        return NoSpaceError(f"{path}: {error}", hint="free some space on the disk that holds the state directory")
    return ConfigurationError(f"{path}: {error}", hint="check the state directory (--state-dir) and who owns it")


def _open(path: Path) -> sqlite3.Connection:
    # Without this SQLite would make the file with the umask's mode.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise storage_error(error, path) from error
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"schema version {version}, this agent knows {SCHEMA_VERSION}")
        connection.executescript(_SCHEMA)
        # A table of the right name with other columns is damage too.
        connection.execute("SELECT sequence, job_id, attempt, lease_s, assigned_at, starts, request FROM jobs LIMIT 1")
        connection.execute("SELECT sequence, id, kind, subject, payload FROM outbox LIMIT 1")
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Whether the file's content is to blame, and not the disk, a lock, or a permission."""
    return not any(word in str(error) for word in ("full", "locked", "unable to open", "readonly", "disk I/O"))


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    try:
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        os.replace(path, aside)
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    return aside
