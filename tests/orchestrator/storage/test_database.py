"""Opening, closing, and what SQLite must survive."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.errors import FleetfitError, InvalidInputError, OperationError, UnavailableError
from orchestrator.storage import engine as engine_module
from orchestrator.storage.database import Database
from orchestrator.storage.engine import open_engine
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage.postgres_server import new_postgres_database
from tests.orchestrator.storage.records import NOW, a_device, a_join_token, a_measurement
from tests.orchestrator.storage.small_disk import small_disk


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleetfit.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database.open(url)
    yield opened
    opened.close()


# Opening


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30_000)]
)
def test_sqlite_is_durable_and_strict(database: Database, url: str, pragma: str, value: object) -> None:
    engine = open_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text(f"PRAGMA {pragma}")).scalar_one() == value
    engine.dispose()


def test_only_its_owner_may_read_a_new_database(database: Database, file: Path) -> None:
    database.run_blocking(lambda tx: tx.devices.add(a_device()))
    for path in file.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("sqlite://", InvalidInputError, "in memory"),
        ("sqlite:///:memory:", InvalidInputError, "in memory"),
        ("sqlite:////no/such/folder/fleetfit.db", InvalidInputError, "no folder /no/such/folder"),
        ("mysql://host/fleetfit", InvalidInputError, "'mysql' is not a kind"),
        ("postgresql+psycopg2://host/fleetfit", InvalidInputError, "psycopg2"),
        ("fleetfit.db", InvalidInputError, "not the address of a database"),
        ("sqlite:////proc/fleetfit.db", OperationError, "/proc/fleetfit.db cannot be written"),
    ],
)
def test_what_cannot_be_opened_is_said_in_a_line(url: str, error: type[FleetfitError], message: str) -> None:
    with pytest.raises(error, match=message) as refusal:
        Database.open(url)
    assert refusal.value.hint


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL: pip install 'fleetfit[postgres]'")
    with pytest.raises(UnavailableError, match=r"u:\*\*\*@127.0.0.1:1/fleetfit cannot be reached") as refusal:
        Database.open("postgresql://u:secret@127.0.0.1:1/fleetfit")
    assert "secret" not in str(refusal.value)


def test_a_missing_driver_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match="driver for PostgreSQL") as refusal:
        Database.open("postgresql://host/fleetfit")
    assert "fleetfit[postgres]" in refusal.value.hint


def test_the_short_address_of_postgres_is_understood() -> None:
    short = new_postgres_database().replace("postgresql+psycopg", "postgresql")
    database = Database.open(short)
    assert database.run_blocking(lambda tx: tx.devices.list()) == ()
    database.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path, url: str) -> None:
    file.write_bytes(b"something else entirely" * 100)
    with pytest.raises(OperationError, match="not a database"):
        Database.open(url)
    assert file.read_bytes() == b"something else entirely" * 100


def test_a_closed_database_says_so_and_may_be_closed_again(url: str) -> None:
    database = Database.open(url)
    database.close()
    database.close()
    with pytest.raises(UnavailableError, match="is closed"):
        database.run_blocking(lambda tx: tx.devices.list())


# Several processes


def test_processes_that_write_at_once_wait_for_each_other(url: str, database: Database) -> None:
    # Each Database has a queue of its own, as each process would: between them only SQLite's locks stand.
    others = [Database.open(url) for _ in range(3)]
    token = a_join_token(maximum_uses=10_000)
    database.run_blocking(lambda tx: tx.join_tokens.add(token))

    def count(tx: Transaction) -> None:
        stored = tx.join_tokens.get(token.id)
        tx.join_tokens.update(replace(stored, uses=stored.uses + 1))

    def count_often(one: Database) -> None:
        for _ in range(25):
            one.run_blocking(count)
        one.close()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(count_often, others))
    assert database.run_blocking(lambda tx: tx.join_tokens.get(token.id)).uses == 75


def test_a_process_that_never_lets_go_is_reported(file: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_BUSY_TIMEOUT_MS", 20)
    database = Database.open(url)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another process holds the database") as refusal:
        database.run_blocking(lambda tx: tx.devices.list())
    assert refusal.value.reason == "DATABASE_BUSY"
    holder.execute("ROLLBACK")
    holder.close()
    assert database.run_blocking(lambda tx: tx.devices.list()) == ()
    database.close()


# Crashes

_WRITER = textwrap.dedent("""
    import sys
    from orchestrator.storage.database import Database
    from tests.orchestrator.storage.records import a_device, a_measurement

    database = Database.open(sys.argv[1])
    start = int(sys.argv[2])
    for number in range(start, start + 1_000_000):
        device = a_device(id=f"d{number}", name=f"d{number}", key_fingerprint=f"d{number}")
        measurement = a_measurement(result_id=f"r{number}", device_id=device.id)
        database.run_blocking(lambda tx: (tx.devices.add(device), tx.measurements.add_once(measurement)))
        print(number, flush=True)
""")


def test_a_killed_writer_loses_nothing_that_was_acknowledged_and_leaves_no_half_transaction(url: str) -> None:
    acknowledged: list[int] = []
    for round_number, kill_after in enumerate((1, 13, 40, 90)):
        command = [sys.executable, "-c", _WRITER, url, str(round_number * 1_000_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as writer:
            assert writer.stdout is not None
            acknowledged += [int(writer.stdout.readline()) for _ in range(kill_after)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
        database = Database.open(url)
        devices = {device.id for device in database.run_blocking(lambda tx: tx.devices.list())}
        results = {result.result_id for result in database.run_blocking(lambda tx: tx.measurements.list())}
        database.close()
        assert {f"d{number}" for number in acknowledged} <= devices
        assert {name.replace("d", "r") for name in devices} == results
        # A commit may have been cut off from its acknowledgement, once in each round.
        assert len(devices) - len(acknowledged) <= round_number + 1


def test_a_full_disk_is_named_loses_nothing_and_ends_when_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "tight", size_bytes=2 * 2**20) as tight:
        database = Database.open(f"sqlite:///{tight}/fleetfit.db")
        ballast = tight / "ballast"
        ballast.write_bytes(b"x" * 512 * 1024)
        stored: list[str] = []

        def fill() -> None:
            for _ in range(100):
                measurement = a_measurement(detail="x" * 50_000)
                database.run_blocking(lambda tx, one=measurement: tx.measurements.add_once(one))
                stored.append(measurement.result_id)

        with pytest.raises(OperationError, match=str(tight)) as refusal:
            fill()
        assert refusal.value.reason == "DISK_FULL"
        assert stored
        ballast.unlink()
        last = a_measurement()
        database.run_blocking(lambda tx: tx.measurements.add_once(last))
        kept = {measurement.result_id for measurement in database.run_blocking(lambda tx: tx.measurements.list())}
        assert kept == {*stored, last.result_id}
        database.close()


def test_a_transaction_that_was_under_way_is_finished_before_the_database_closes(url: str) -> None:
    database = Database.open(url)
    device = a_device()

    def slow(tx: Transaction) -> None:
        tx.devices.add(device)
        closing.submit(database.close)
        tx.devices.begin_session(device.id, NOW)

    with ThreadPoolExecutor(1) as closing:
        database.run_blocking(slow)
    reopened = Database.open(url)
    assert reopened.run_blocking(lambda tx: tx.devices.get(device.id)).session_epoch == 1
    reopened.close()
