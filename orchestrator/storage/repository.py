"""A repository: the rows of one table as frozen domain objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.storage.database_errors import is_duplicate, is_missing_reference

T = TypeVar("T")


class Repository(Generic[T]):
    """Base of the repositories: each lives as long as its transaction, and knows one table and one domain type.

    A refused ``add`` or ``update`` leaves the transaction usable on every database.
    """

    table: ClassVar[Table[Any]]
    record_type: ClassVar[type[Any]]
    # What a user calls such a thing, and the command that lists what there is.
    kind: ClassVar[str]
    listing: ClassVar[str] = ""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _first(self, *conditions: ColumnElement[bool]) -> T | None:
        """The row that was added first among those that meet every condition."""
        return next(iter(self._select(*conditions, limit=1)), None)

    def _newest(self, *conditions: ColumnElement[bool]) -> T | None:
        """The row that was added last among those that meet every condition."""
        return next(iter(self._select(*conditions, order=self.table.c.position.desc(), limit=1)), None)

    def _select(
        self,
        *conditions: ColumnElement[bool],
        order: ColumnElement[Any] | None = None,
        limit: int | None = None,
    ) -> tuple[T, ...]:
        """Every row that meets every condition, in the order in which they were added where no other is given."""
        statement = select(self.table).where(*conditions).limit(limit)
        statement = statement.order_by(self.table.c.position if order is None else order)
        return tuple(self._record(row) for row in self._connection.execute(statement).mappings())

    def _record(self, row: Mapping[Any, Any]) -> T:
        record: T = self.record_type(**{field.name: row[field.name] for field in fields(self.record_type)})
        return record

    def _values(self, record: T) -> dict[str, Any]:
        return {field.name: getattr(record, field.name) for field in fields(self.record_type)}

    def _insert_once(self, record: T) -> bool:
        """Adds a row; False, and nothing is changed, where a unique column already holds its value.

        The savepoint is there because a failed statement would otherwise end the transaction on PostgreSQL.

        Raises:
            NotFoundError: What the record belongs to does not exist.
        """
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(self.table).values(**self._values(record)))
        except IntegrityError as error:
            if is_duplicate(error):
                return False
            if is_missing_reference(error):
                message = f"the {self.kind} belongs to something that does not exist"
                raise NotFoundError(message, hint="it may have been removed meanwhile") from error
            raise
        return True


class IdentifiedRepository(Repository[T]):
    """A repository of things with an id."""

    def add(self, record: T) -> None:
        """Adds a new one.

        Raises:
            ConflictError: Its id, or another field that must be unique, is taken.
            NotFoundError: What it belongs to does not exist.
        """
        if not self._insert_once(record):
            raise self._taken(record)

    def get(self, record_id: str) -> T:
        """The one with this id.

        Raises:
            NotFoundError: There is none.
        """
        found = self._first(self.table.c.id == record_id)
        if found is None:
            raise self._not_found(record_id)
        return found

    def _title(self, record: T) -> str:
        """What a user would call it."""
        return str(getattr(record, "name", "") or getattr(record, "id", ""))

    def _replace(self, record: T, *conditions: ColumnElement[bool], keep: frozenset[str] = frozenset()) -> bool:
        """Replaces the row of the record's id, all but the columns in ``keep``.

        Returns:
            Whether the row met every condition; where it did not, nothing is changed.

        Raises:
            ConflictError: A field that must be unique is taken.
            NotFoundError: There is no such row.
        """
        values = self._values(record)
        record_id = values["id"]
        changes = {name: value for name, value in values.items() if name not in keep | {"id"}}
        statement = update(self.table).where(self.table.c.id == record_id, *conditions).values(**changes)
        try:
            with self._connection.begin_nested():
                replaced = self._connection.execute(statement).rowcount == 1
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
            raise self._taken(record) from error
        if not replaced:
            self.get(record_id)
        return replaced

    def _replace_expecting(self, record: T, expecting: Any) -> None:
        """Replaces the row, where ``expecting`` is given only if its state is that one."""
        conditions = () if expecting is None else (self.table.c.state == expecting,)
        if not self._replace(record, *conditions):
            stored: Any = self.get(self._values(record)["id"])
            raise ConflictError(
                f"{self.kind} '{self._title(record)}' is {stored.state.value}, not {expecting.value}",
                hint="look at it again: it changed in the meantime",
                reason="STALE",
            )

    def _taken(self, record: T) -> ConflictError:
        return ConflictError(f"{self.kind} '{self._title(record)}' exists already", reason="ALREADY_EXISTS")

    def _not_found(self, name: str) -> NotFoundError:
        hint = f"'{self.listing}' shows what there is" if self.listing else ""
        return NotFoundError(f"there is no {self.kind} '{name}'", hint=hint)
