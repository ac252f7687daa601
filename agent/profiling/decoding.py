"""Typed values out of JSON: what a worker says is checked before it is believed."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class GarbledError(Exception):
    """The bytes are not the JSON document that was agreed on; the message says where."""


def encode(value: Any) -> str:
    """The dataclass as one line of JSON."""
    return json.dumps(dataclasses.asdict(value), allow_nan=False, separators=(",", ":"))


def parse(text: str | bytes) -> Any:
    """The JSON document.

    Raises:
        GarbledError: It is not JSON, or has numbers that are not finite.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise GarbledError("not JSON") from error


def decode(kind: type[T], document: Any) -> T:
    """A ``kind`` (a dataclass of plain values, enums, tuples and dataclasses) from a JSON document.

    Raises:
        GarbledError: A field is missing, unknown, or of the wrong type.
    """
    value: T = _decode(kind, document, kind.__name__)
    return value


def _decode(kind: Any, document: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (types.UnionType, Union):
        return None if document is None else _decode(_without_none(kind), document, where)
    if origin is tuple:
        if not isinstance(document, list):
            raise GarbledError(f"{where} is not a list")
        return tuple(_decode(get_args(kind)[0], item, where) for item in document)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, document, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(document)
        except ValueError as error:
            raise GarbledError(f"{where} is none of {[member.value for member in kind]}") from error
    return _decode_plain(kind, document, where)


def _decode_dataclass(kind: Any, document: Any, where: str) -> Any:
    if not isinstance(document, dict):
        raise GarbledError(f"{where} is not an object")
    hints = get_type_hints(kind)
    unknown = set(document) - set(hints)
    if unknown:
        raise GarbledError(f"{where} has an unknown field '{min(unknown)}'")
    values = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in document.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise GarbledError(f"{where} lacks a field") from error


def _decode_plain(kind: Any, document: Any, where: str) -> Any:
    if kind is float and isinstance(document, int | float) and not isinstance(document, bool):
        if not abs(document) <= sys.float_info.max:
            raise GarbledError(f"{where} is not finite")
        return float(document)
    if kind in (int, str, bool) and type(document) is kind:
        return document
    raise GarbledError(f"{where} is not of type {kind.__name__}")


def _without_none(kind: Any) -> Any:
    (alternative,) = (argument for argument in get_args(kind) if argument is not types.NoneType)
    return alternative


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
