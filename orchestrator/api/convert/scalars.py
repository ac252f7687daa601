"""Times, numbers, text and enumerations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from enum import Enum
from itertools import islice
from typing import TypeVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.errors import InvalidInputError
from orchestrator.fleet.plain_text import plain_text

EnumType = TypeVar("EnumType", bound=Enum)

_IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def timestamp(moment: datetime | None) -> Timestamp | None:
    """The moment as protobuf has it, to the microsecond."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def moment(message: Timestamp, *, name: str) -> datetime:
    """The moment in UTC.

    Raises:
        InvalidInputError: It lies outside the years 1 to 9999.
    """
    try:
        return message.ToDatetime(tzinfo=timezone.utc)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"{name}: is not a time") from error


def duration(seconds: float) -> Duration:
    """The duration as protobuf has it, to the nanosecond."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def time_delta(message: Duration, *, name: str) -> timedelta:
    """The duration.

    Raises:
        InvalidInputError: It is longer than any that Python knows.
    """
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"{name}: is not a duration") from error


def finite(value: float, *, name: str) -> float:
    """The number, known to be one.

    Raises:
        InvalidInputError: It is not a number or is infinite.
    """
    if not math.isfinite(value):
        raise InvalidInputError(f"{name}: {value} is not a finite number")
    return value


def not_negative(value: float, *, name: str) -> float:
    """The number, known to be zero or more.

    Raises:
        InvalidInputError: It is negative, infinite, or not a number.
    """
    if finite(value, name=name) < 0:
        raise InvalidInputError(f"{name}: {value} is negative")
    return value


def identifier(text: str, *, name: str) -> str:
    """An id as devices and clients make them: letters, digits and a few marks.

    Raises:
        InvalidInputError: It is empty, too long, or contains something else.
    """
    if not _IDENTIFIER.fullmatch(text):
        raise InvalidInputError(f"{name}: {plain_text(text, limit=40)!r} is not an id")
    return text


def identifiers(values: Sequence[str], *, name: str, most: int = 256) -> tuple[str, ...]:
    """Several ids, each once.

    Raises:
        InvalidInputError: One of them is not an id, or there are more than ``most``.
    """
    if len(values) > most:
        raise InvalidInputError(f"{name}: {len(values)} entries are too many", hint=f"at most {most}")
    return tuple(dict.fromkeys(identifier(value, name=name) for value in values))


def sha256(text: str, *, name: str) -> str:
    """A SHA-256 in lower-case hexadecimal.

    Raises:
        InvalidInputError: It is something else.
    """
    if not _SHA256.fullmatch(text):
        raise InvalidInputError(f"{name}: {plain_text(text, limit=80)!r} is not a SHA-256 in lower-case hexadecimal")
    return text


def texts(values: Iterable[str], *, most: int = 256) -> tuple[str, ...]:
    """The first ``most`` texts, made inert."""
    return tuple(plain_text(value) for value in islice(values, most))


def enum_number(descriptor: EnumDescriptor, member: Enum) -> int:
    """The number that stands for the member: protobuf names it like the domain, after the enumeration's own name."""
    return descriptor.values_by_name[_prefix(descriptor) + member.name].number


def enum_member(kind: type[EnumType], descriptor: EnumDescriptor, number: int, *, name: str) -> EnumType:
    """The member that the number stands for.

    Raises:
        InvalidInputError: It is unspecified, or newer than this server.
    """
    try:
        return kind[descriptor.values_by_number[number].name.removeprefix(_prefix(descriptor))]
    except KeyError as error:
        raise InvalidInputError(f"{name}: {number} is not a {kind.__name__} that this server knows") from error


def _prefix(descriptor: EnumDescriptor) -> str:
    return descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
