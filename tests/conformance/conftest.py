"""Fixtures of the conformance suites."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.storage.database import Database
from tests.orchestrator.storage.postgres_server import new_postgres_database


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database of each kind, one for all tests of a file: each test uses names of its own, as its users do."""
    folder: Path = tmp_path_factory.mktemp("database")
    url = f"sqlite:///{folder}/fleetfit.db" if request.param == "sqlite" else new_postgres_database()
    opened = Database.open(url)
    yield opened
    opened.close()
