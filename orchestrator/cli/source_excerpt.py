"""The offending line of a user's file, with a mark under the place."""

from __future__ import annotations


def excerpt(lines: list[str], line: int, column: int) -> str:
    """The line and a mark under its column, both counted from 1; empty where there is no such line."""
    if not 1 <= line <= len(lines):
        return ""
    text = lines[line - 1].expandtabs(1).rstrip()
    number = f"{line:>4} | "
    return f"{number}{text}\n{'':>4} | {'':>{max(0, min(column - 1, len(text)))}}^"
