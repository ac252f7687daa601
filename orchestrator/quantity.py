"""Quantities with units, as people write them: ``20ms``, ``15mJ``, ``64MiB``, ``100kB``, ``1%``, ``15m``.

A number without its unit is refused: 20 seconds and 20 milliseconds are both plausible, and only one is meant.
"""

from __future__ import annotations

import re

from orchestrator.errors import InvalidInputError

_NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*")

_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
_JOULES = {"nJ": 1e-9, "uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0}
_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip


def parse_duration_s(text: str, *, name: str) -> float:
    """The duration in seconds.

    Raises:
        InvalidInputError: It has no unit of time, is not a number, or is not above zero.
    """
    return _parse(text, name=name, units=_SECONDS, example="20ms")


def parse_energy_j(text: str, *, name: str) -> float:
    """The energy in joules.

    Raises:
        InvalidInputError: It has no unit of energy, is not a number, or is not above zero.
    """
    return _parse(text, name=name, units=_JOULES, example="15mJ")


def parse_bytes(text: str, *, name: str) -> int:
    """The size in bytes. ``kB`` is 1,000 bytes and ``KiB`` is 1,024.

    Raises:
        InvalidInputError: It has no unit of size, is not a number, or is not above zero.
    """
    return round(_parse(text, name=name, units=_BYTES, example="64MiB"))


def parse_fraction(text: str, *, name: str) -> float:
    """The share as a fraction of one: ``1%`` and ``0.01`` are the same.

    Raises:
        InvalidInputError: It is not a number, or lies outside 0 to 1.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in (None, "%"):
        raise InvalidInputError(f"{name}: '{text}' is not a share", hint="write it as 0.97 or 97%")
    value = float(match[1]) / (100 if match[2] == "%" else 1)
    if not 0 <= value <= 1:
        raise InvalidInputError(f"{name}: '{text}' lies outside 0 to 1", hint="write it as 0.97 or 97%")
    return value


def format_duration(seconds: float) -> str:
    """The duration with the unit that reads best, three significant digits: ``1.24ms``."""
    if seconds <= 0:
        return "0s"
    for unit, scale in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < 999.5 * scale or unit == "s":
            break
    if seconds < 120:
        return f"{_three_digits(seconds / scale)}{unit}"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def format_bytes(size_bytes: float) -> str:
    """The size with a decimal unit, three significant digits: ``46.1kB``."""
    for unit, scale in (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if size_bytes < 999.5 * scale or unit == "GB":
            break
    return f"{int(size_bytes)}B" if unit == "B" else f"{_three_digits(size_bytes / scale)}{unit}"


def format_energy(joules: float) -> str:
    """The energy with the unit that reads best, three significant digits: ``1.52mJ``."""
    for unit, scale in (("nJ", 1e-9), ("uJ", 1e-6), ("mJ", 1e-3), ("J", 1.0)):
        if joules < 999.5 * scale or unit == "J":
            break
    return f"{_three_digits(joules / scale)}{unit}"


def _parse(text: str, *, name: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"{name}: '{text}' is not a number with a unit", hint=f"for example {example}")
    number, unit = match[1], match[2]
    if unit is None:
        raise InvalidInputError(f"{name}: '{text}' has no unit", hint=f"for example {example}", reason="UNIT_MISSING")
    if unit not in units:
        known = ", ".join(units)
        raise InvalidInputError(f"{name}: unknown unit '{unit}' in '{text}'", hint=f"use one of {known}")
    value = float(number) * units[unit]
    if value <= 0:
        raise InvalidInputError(f"{name}: '{text}' is not above zero", hint=f"for example {example}")
    return value


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
