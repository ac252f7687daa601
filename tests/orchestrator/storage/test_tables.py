"""Tables and domain types say the same."""

from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import create_mock_engine

from orchestrator.storage.repository import Repository
from orchestrator.storage.tables import METADATA
from orchestrator.storage.transaction import Transaction

REPOSITORIES: list[Repository[Any]] = list(vars(Transaction(create_mock_engine("sqlite://", print))).values())


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda repository: repository.table.name)
def test_every_field_has_its_column_and_every_column_its_field(repository: Repository[Any]) -> None:
    columns = {column.name for column in repository.table.columns} - {"position"}
    record_fields = {field.name for field in fields(repository.record_type)}
    if "id" not in record_fields:
        columns.discard("id")
    assert columns == record_fields


def test_every_table_has_its_repository() -> None:
    assert {repository.table.name for repository in REPOSITORIES} == set(METADATA.tables)


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda repository: repository.table.name)
def test_a_column_may_be_empty_where_its_field_may_be_none(repository: Repository[Any]) -> None:
    for field in fields(repository.record_type):
        assert repository.table.columns[field.name].nullable == ("None" in str(field.type)), field.name
