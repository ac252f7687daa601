"""What the updater must not forget: each deployment with its step, and the lowest counter that a name may have."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.database import database_error
from agent.durable_file import storage_error, sync_directory
from agent.update.manifest import Manifest
from agent.update.release import DesiredRelease
from agent.update.states import Step

_log = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
# Deployments that have ended are kept so that the same one is not begun again; the oldest are forgotten at last.
_ENDED_KEPT = 200
_STEPS = frozenset(step.value for step in Step)
_ENDED = tuple(step.value for step in Step if step.final)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deployments (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment_id TEXT NOT NULL UNIQUE,
    manifest_path TEXT NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    step TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    manifest_json BLOB NOT NULL DEFAULT x'',
    replaces TEXT NOT NULL DEFAULT '',
    restarts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS floors (
    name TEXT PRIMARY KEY,
    counter INTEGER NOT NULL
);
"""

_COLUMNS = "deployment_id, manifest_path, manifest_sha256, step, reason, manifest_json, replaces, restarts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment as it was stored last."""

    desired: DesiredRelease
    step: Step
    reason: str = ""
    # As the release repository proved it; empty until it has.
    manifest_json: bytes = b""
    # What was served before the switch, to go back to; empty: nothing was.
    replaces: str = ""
    # How often the agent has started in this step.
    restarts: int = 0

    @property
    def id(self) -> str:
        """The orchestrator's name of the deployment."""
        return self.desired.deployment_id


class Journal:
    """Deployments in the order in which they were asked for. What a method has written is on the disk.

    A file that is damaged, or written by a newer agent, is moved aside: the links say what is served, and the
    orchestrator says again what it wants. Belongs to one thread.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: The file cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _open(path)

    def add(self, desired: DesiredRelease) -> Deployment:
        """Notes a new deployment, which then is the newest.

        Raises:
            NoSpaceError: The disk is full; nothing was changed.
        """
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM deployments WHERE sequence <= (SELECT max(sequence) FROM deployments) - ? "
                "AND step IN (SELECT value FROM json_each(?))",
                (_ENDED_KEPT, json.dumps(_ENDED)),
            )
            connection.execute(
                "INSERT INTO deployments (deployment_id, manifest_path, manifest_sha256, step) VALUES (?, ?, ?, ?)",
                (desired.deployment_id, desired.manifest_path, desired.manifest_sha256, Step.PENDING.value),
            )
        return Deployment(desired=desired, step=Step.PENDING)

    def record(self, deployment: Deployment, *, floor: Manifest | None = None) -> None:
        """Stores the deployment as it is now and, in the same instant, the counter below which ``floor`` may not fall.

        Raises:
            NoSpaceError: The disk is full; nothing was changed.
        """
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deployments SET step = ?, reason = ?, manifest_json = ?, replaces = ?, restarts = ? "
                "WHERE deployment_id = ?",
                (
                    deployment.step.value,
                    deployment.reason,
                    deployment.manifest_json,
                    deployment.replaces,
                    deployment.restarts,
                    deployment.id,
                ),
            )
            if floor is not None:
                connection.execute(
                    "INSERT INTO floors (name, counter) VALUES (?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET counter = max(counter, excluded.counter)",
                    (floor.name, floor.counter),
                )

    def find(self, deployment_id: str) -> Deployment | None:
        """The deployment of this id, ended or not."""
        found = self._select("WHERE deployment_id = ?", deployment_id)
        return found[0] if found else None

    def newest(self) -> Deployment | None:
        """The deployment that was asked for last."""
        found = self._select("ORDER BY sequence DESC LIMIT 1")
        return found[0] if found else None

    def unfinished(self) -> list[Deployment]:
        """The deployments that have not ended, oldest first."""
        return [found for found in self._select("ORDER BY sequence") if not found.step.final]

    def floor(self, name: str) -> int:
        """The highest counter that was ever active here by this name; 0 where none was."""
        rows = self._rows("SELECT counter FROM floors WHERE name = ?", name)
        return rows[0][0] if rows else 0

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _select(self, clause: str, *values: str) -> list[Deployment]:
        return [
            Deployment(
                desired=DesiredRelease(deployment_id=row[0], manifest_path=row[1], manifest_sha256=row[2]),
                step=Step(row[3]),
                reason=row[4],
                manifest_json=row[5],
                replaces=row[6],
                restarts=row[7],
            )
            # The clauses are the literals above.
            for row in self._rows(f"SELECT {_COLUMNS} FROM deployments {clause}", *values)  # noqa: S608
        ]

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise database_error(error, self._path) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
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
            raise database_error(error, self._path) from error


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise database_error(error, path) from error
        damage: Exception = error
    except sqlite3.DatabaseError as error:
        damage = error
    try:
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{path}.damaged{suffix}")
        sync_directory(path.parent)
        _log.error("%s cannot be used (%s): moved aside, starting from what is served", path, damage)
        return _connect(path)
    except OSError as error:
        raise storage_error(error, path) from error
    except sqlite3.Error as error:
        raise database_error(error, path) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        # FULL: WAL with less loses everything since the last checkpoint in a loss of power.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"schema version {version}, this agent knows {_SCHEMA_VERSION}")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        # A table of the right name with other columns, or a step of another agent's, is damage too.
        connection.execute(f"SELECT sequence, {_COLUMNS}, counter FROM deployments, floors LIMIT 1")  # noqa: S608
        for (step,) in connection.execute("SELECT DISTINCT step FROM deployments"):
            if step not in _STEPS:
                raise sqlite3.DatabaseError(f"unknown step '{step}'")
    except BaseException:
        connection.close()
        raise
    return connection
