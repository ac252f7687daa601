"""What a column may hold: each type gives back exactly what it was given, on SQLite and on PostgreSQL alike.

A value that one of the two databases would alter or refuse is refused on both, so that a fleet can move from the one to
the other.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, Text, TypeDecorator
from sqlalchemy.types import TypeEngine, UserDefinedType

from orchestrator.errors import InvalidInputError, OperationError

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

_SMALLEST_INTEGER, _LARGEST_INTEGER = -(2**63), 2**63 - 1


class StoredText(TypeDecorator[str]):
    """Text of any length, without the two kinds of character that databases refuse."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text itself.

        Raises:
            InvalidInputError: It holds a NUL or half of a surrogate pair.
        """
        if value is not None and ("\x00" in value or not _encodes(value)):
            raise InvalidInputError(f"text that cannot be stored: {value[:40]!r}")
        return value


class StoredInteger(TypeDecorator[int]):
    """A whole number of 64 bits."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        """The number itself.

        Raises:
            InvalidInputError: It needs more than 64 bits.
        """
        if value is not None and not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            raise InvalidInputError(f"a number that cannot be stored: {value} needs more than 64 bits")
        return value


class _SqliteDouble(UserDefinedType[float]):
    """A column of real numbers that leaves values alone: SQLAlchemy's own would turn a text back into a number."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "DOUBLE"


class StoredFloat(TypeDecorator[float]):
    """A floating-point number, NaN and infinities included. SQLite would store NaN as NULL, and so is given a text."""

    impl = Double
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type on the database at hand."""
        return dialect.type_descriptor(_SqliteDouble() if dialect.name == "sqlite" else Double())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        """The number, or what stands for it."""
        if value is None:
            return None
        return "nan" if dialect.name == "sqlite" and math.isnan(value) else float(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        """The number as it was."""
        return None if value is None else float(value)


class StoredTime(TypeDecorator[datetime]):
    """A moment, stored in UTC and given back with its time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC.

        Raises:
            ValueError: It names no time zone.
        """
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment, aware of its time zone, which is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


class StoredEnum(TypeDecorator[E], Generic[E]):
    """A member of an enumeration, stored as its value."""

    impl = Text
    cache_ok = True

    def __init__(self, enumeration: type[E]) -> None:
        super().__init__()
        self.enumeration = enumeration

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """The member's value."""
        return None if value is None else str(value.value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        """The member.

        Raises:
            OperationError: No member has the stored value.
        """
        if value is None:
            return None
        try:
            return self.enumeration(value)
        except ValueError as error:
            raise _unreadable(self.enumeration.__name__, f"unknown value {value!r}") from error


class StoredDocument(TypeDecorator[T], Generic[T]):
    """Anything that pydantic can check, as JSON. It is checked on reading: what comes out has the declared type.

    Unknown keys are refused, so a field that goes away takes a migration that removes it from what is stored. Numbers
    that JSON does not know (NaN, the infinities) are stored as text.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, document_type: type[T]) -> None:
        super().__init__()
        self.document_type = document_type
        # Pydantic takes a configuration only for types that cannot have their own, hence the union; whether None is
        # allowed is the column's affair.
        optional: Any = document_type | None
        config = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
        self._adapter: TypeAdapter[Any] = TypeAdapter(optional, config=config)

    def process_bind_param(self, value: T | None, dialect: Dialect) -> Any:
        """The document as JSON's own types."""
        return from_json(self._adapter.dump_json(value, warnings="error"))

    def process_result_value(self, value: Any, dialect: Dialect) -> T | None:
        """The document.

        Raises:
            OperationError: What is stored does not fit the declared type.
        """
        try:
            document: T | None = self._adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([self.document_type.__name__, *map(str, first["loc"])])
            raise _unreadable(place, first["msg"]) from error
        return document


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(name: str, why: str) -> OperationError:
    return OperationError(
        f"the database holds a {name} that cannot be read: {why}",
        hint="it was changed by something else than fleetfit, or is damaged: restore a copy",
        reason="DATABASE_UNREADABLE",
    )
