"""How fleetfit opens SQLite and PostgreSQL: durable, strict, and with transactions that behave as if run in a row."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from orchestrator.errors import InvalidInputError, OperationError

# How long another process may hold the database before it is given up on.
_BUSY_TIMEOUT_MS = 30_000
_CONNECT_TIMEOUT_S = 10
_EXAMPLES = "for example sqlite:////var/lib/fleetfit/fleetfit.db or postgresql://user@host/fleetfit"

# Text that JSON does not know (NaN, Infinity) would be refused by PostgreSQL only when it arrives there.
_to_json = partial(json.dumps, allow_nan=False)


def open_engine(url: str) -> Engine:
    """An engine for ``url``; nothing is connected yet.

    Raises:
        InvalidInputError: The address is not one of a database that fleetfit knows, or its folder does not exist.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInputError(f"'{url}' is not the address of a database", hint=_EXAMPLES) from error
    if parsed.drivername == "sqlite":
        return _open_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _open_postgres(parsed.set(drivername="postgresql+psycopg"))
    raise InvalidInputError(f"'{parsed.drivername}' is not a kind of database that fleetfit knows", hint=_EXAMPLES)


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise InvalidInputError("a database in memory would forget everything", hint=f"name a file, {_EXAMPLES}")
    folder = Path(url.database).parent
    if not folder.is_dir():
        raise InvalidInputError(f"there is no folder {folder} for the database", hint="make it first")
    with suppress(OSError):
        # SQLite would let everybody read what it makes. Whether a file can be made at all, it says itself.
        os.close(os.open(url.database, os.O_CREAT | os.O_EXCL, 0o600))
    engine = create_engine(url, json_serializer=_to_json)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # The driver shall begin no transaction by itself: each begins with the statement below.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        message = f"the disk of the database does not allow a write-ahead log: journal mode is '{mode}'"
        raise OperationError(message, hint="put the database on a local disk")
    # In WAL mode anything less loses acknowledged commits with the power.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that only becomes a writer half-way can find itself locked out, with no way but to start again.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _open_postgres(url: URL) -> Engine:
    if find_spec("psycopg") is None:
        raise InvalidInputError(
            "the driver for PostgreSQL is not installed", hint="install it: pip install 'fleetfit[postgres]'"
        )
    return create_engine(
        url,
        json_serializer=_to_json,
        isolation_level="SERIALIZABLE",
        # A connection that broke while it was idle is replaced before it is used.
        pool_pre_ping=True,
        pool_size=8,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "options": "-c timezone=UTC"},
    )
