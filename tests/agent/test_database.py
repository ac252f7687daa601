"""The database file: what a power cut, a damaged card or a newer agent may leave behind."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from agent.database import SCHEMA_VERSION, open_database, transaction
from agent.errors import AgentError, ConfigurationError
from agent.outbox import MessageKind, Outbox, WaitingMessage


def filled(path: Path) -> None:
    with contextlib.closing(open_database(path)) as connection:
        outbox = Outbox(connection)
        for number in range(200):
            outbox.put(WaitingMessage(id=f"r{number}", kind=MessageKind.JOB_RESULT, subject="job", payload=b"x" * 500))


def test_commits_are_synced_to_the_disk(tmp_path: Path) -> None:
    with contextlib.closing(open_database(tmp_path / "state.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    open_database(tmp_path / "state.db").close()
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["garbage", "zeroed", "truncated", "middle", "newer", "other table"])
def test_a_damaged_file_is_moved_aside_and_rebuilt(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    filled(path)
    content = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"this is not a database" * 1000)
    elif damage == "zeroed":
        path.write_bytes(bytes(len(content)))
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "middle":
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 8192) + content[-4096:])
    elif damage == "newer":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("ALTER TABLE outbox RENAME COLUMN payload TO something")
    damaged = path.read_bytes()

    with contextlib.closing(open_database(path)) as connection:
        assert Outbox(connection).waiting() == ()

    aside = list(tmp_path.glob("state.db.damaged-*"))
    assert [file.read_bytes() for file in aside if not file.name.endswith(("-wal", "-shm"))] == [damaged]
    assert "moved to state.db.damaged-" in caplog.text


@pytest.mark.parametrize("content", [b"", None])
def test_an_empty_or_absent_file_is_a_new_database(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.db"
    if content is not None:
        path.write_bytes(content)
    with contextlib.closing(open_database(path)) as connection:
        assert Outbox(connection).waiting() == ()
    assert list(tmp_path.glob("*damaged*")) == []


def test_a_directory_that_is_missing_is_an_error_of_the_agent(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        open_database(tmp_path / "missing" / "state.db")


def half_done(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO outbox (id, kind, subject, payload) VALUES ('a', 'job_result', '', '')")
        connection.execute("INSERT INTO nowhere VALUES (1)")


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    with contextlib.closing(open_database(tmp_path / "state.db")) as connection:
        with pytest.raises(AgentError, match="no such table"):
            half_done(connection)
        assert Outbox(connection).waiting() == ()
        with transaction(connection):
            pass
