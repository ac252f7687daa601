"""What is stored is checked when it is read."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import OperationError
from orchestrator.storage.database import Database
from tests.orchestrator.storage.records import a_device, a_job, a_search


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleetfit.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{file}")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("record", "column", "damage", "message"),
    [
        (a_device(), "devices.facts", "'{}'", "DeviceFacts.hostname .* required"),
        (a_device(), "devices.facts", "json_set(facts, '$.bogus', 1)", "DeviceFacts.bogus .* keyword"),
        (a_device(), "devices.facts", "json_set(facts, '$.cpu_count', 'many')", "DeviceFacts.cpu_count .* integer"),
        (a_device(), "devices.labels", "'[1]'", "Mapping .* dictionary"),
        (a_job(), "jobs.state", "'sleeping'", "JobState .* unknown value 'sleeping'"),
        (a_search(), "searches.spec", "json_set(spec, '$.budgets.size', '7')", "SearchSpec.budgets.size .* no unit"),
    ],
)
def test_what_something_else_wrote_is_refused_by_name(
    database: Database, file: Path, record: Any, column: str, damage: str, message: str
) -> None:
    table, _, name = column.partition(".")
    database.run_blocking(lambda tx: getattr(tx, table).add(record))
    intruder = sqlite3.connect(file)
    with intruder:
        intruder.execute(f"UPDATE {table} SET {name} = {damage}")  # noqa: S608 - all of it is written above
    intruder.close()
    with pytest.raises(OperationError, match=message) as refusal:
        database.run_blocking(lambda tx: getattr(tx, table).get(record.id))
    assert refusal.value.reason == "DATABASE_UNREADABLE"
