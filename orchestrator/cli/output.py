"""What a command prints: tables for people, JSON for programs. Data goes to stdout, all else to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.errors import SCHEMA_VERSION, one_line
from orchestrator.durable_file import write_durably
from orchestrator.errors import OperationError


def stdout_console() -> Console:
    """The terminal for data; ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM=dumb`` are obeyed.

    Where it is no terminal, its width is more than any line of ours: nothing is cut.
    """
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 1000
    return console


def stderr_console() -> Console:
    """The terminal for progress and hints."""
    return Console(file=sys.stderr, highlight=False)


def tell(text: str) -> None:
    """Writes a line for people to stderr."""
    print(one_line(text), file=sys.stderr)


def tell_next(command: str) -> None:
    """Writes the command that a user will want next to stderr."""
    print(f"Next: {command}", file=sys.stderr)


def print_json(**content: Any) -> None:
    """Writes one object, with the version of its schema, to stdout."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **plain(content)}, ensure_ascii=False, indent=2))


def print_json_line(**content: Any) -> None:
    """Writes one object on one line to stdout, at once: for commands that go on."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **plain(content)}, ensure_ascii=False), flush=True)


def plain(value: Any) -> Any:
    """The value as JSON types: records by their fields, times as UTC in ISO 8601, enumerations by their value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(each) for each in value]
    return value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Writes the rows to stdout; where there are none, ``empty`` to stderr.

    On a terminal the table fits its width; elsewhere nothing is cut, so that ``grep`` and ``awk`` see all of it.
    """
    if not rows:
        tell(empty)
        return
    cells = [[one_line(cell) or "-" for cell in row] for row in rows]
    console = stdout_console()
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column, no_wrap=index == 0, overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        return
    lines = [list(columns), *cells]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def print_facts(facts: Mapping[str, str]) -> None:
    """Writes names and values, one pair a line, to stdout; what is empty is left out."""
    shown = {name: value for name, value in facts.items() if value}
    width = max((cell_len(name) for name in shown), default=0)
    console = stdout_console()
    for name, value in shown.items():
        label = name + " " * (width - cell_len(name))
        line = Text.assemble((label, "bold"), "  ", one_line(value))
        if console.is_terminal:
            console.print(line, soft_wrap=True)
        else:
            print(line.plain)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file that the user asked for, whole or not at all.

    Raises:
        OperationError: It cannot be written.
    """
    try:
        write_durably(path, data)
    except OperationError as error:
        raise OperationError(error.message, hint="name another place with --to") from error


def time_text(moment: datetime | None) -> str:
    """The moment in UTC to the second, or nothing."""
    return "" if moment is None else moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def ago_text(moment: datetime | None, now: datetime) -> str:
    """How long ago the moment was: ``12s ago``."""
    if moment is None:
        return "never"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago"


def labels_text(labels: Mapping[str, str]) -> str:
    """The labels as ``key=value``, joined by commas."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
