"""What databases raise, turned into what fleetfit says: the one place where foreign errors of SQL are read."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError

from orchestrator.errors import ConflictError, FleetfitError, InvalidInputError, OperationError, UnavailableError

# PostgreSQL's codes: a serialisable transaction lost against another, a deadlock was broken.
_TRANSIENT = frozenset({"40001", "40P01"})
_DUPLICATE = "23505"
_REFERENCE = "23503"


def is_duplicate(error: IntegrityError) -> bool:
    """Whether a row was refused because a unique column already holds its value."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorname in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")
    return _sqlstate(error) == _DUPLICATE


def is_missing_reference(error: IntegrityError) -> bool:
    """Whether a row was refused because what it refers to does not exist, or is still referred to."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY"
    return _sqlstate(error) == _REFERENCE


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction, run again, may well succeed."""
    return isinstance(error, DBAPIError) and _sqlstate(error) in _TRANSIENT


def translate(error: StatementError, url: URL) -> BaseException:
    """The error as fleetfit says it; it names the database without its password.

    What was raised before the database was asked, about a value that it was to be given, is taken out as it is.
    """
    if not isinstance(error, DBAPIError):
        return error.orig or error
    place = describe(url)
    why = _first_line(error.orig or error)
    if isinstance(error.orig, sqlite3.Error):
        return _translate_sqlite(error.orig, place, why)
    if is_transient(error):
        return UnavailableError(f"the database {place} is too busy", hint="try again", reason="DATABASE_BUSY")
    if isinstance(error, DataError):
        return InvalidInputError(f"a value cannot be stored: {why}")
    if isinstance(error, IntegrityError):
        return ConflictError(f"the database {place} refuses this: {why}")
    if isinstance(error, OperationalError | InterfaceError):
        hint = "check that it runs and that the address is right"
        return UnavailableError(f"the database {place} cannot be reached: {why}", hint=hint)
    return OperationError(f"the database {place} failed: {why}")


def describe(url: URL) -> str:
    """The file of the database, or its address without the password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def _translate_sqlite(error: sqlite3.Error, place: str, why: str) -> FleetfitError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        hint = "find out which process holds it, and end that"
        return UnavailableError(f"another process holds the database {place}", hint=hint, reason="DATABASE_BUSY")
    if name.startswith("SQLITE_FULL"):
        hint = "free some space, then start again: nothing is lost"
        return OperationError(f"no space left for the database {place}", hint=hint, reason="DISK_FULL")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        hint = "name another file, or restore a copy"
        return OperationError(f"{place} is not a database that can be read: {why}", hint=hint)
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        hint = "check that the folder exists and who may write there"
        return OperationError(f"the database {place} cannot be written: {why}", hint=hint)
    if name.startswith("SQLITE_CONSTRAINT"):
        return ConflictError(f"the database {place} refuses this: {why}")
    return OperationError(f"the database {place} failed: {why}")


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
