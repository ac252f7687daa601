"""Numbers that the kernel shows as files, read over and over through a descriptor that is kept."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST_NUMBER = 64


class NumberFile:
    """One file with one number in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def open(self) -> None:
        """Opens the file.

        Raises:
            OSError: It is missing, or may not be read.
        """
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_RDONLY)

    def read(self) -> int:
        """The number now.

        Raises:
            OSError: The device behind it does not answer.
            ValueError: It is not a number.
        """
        return int(os.pread(self._descriptor, _LONGEST_NUMBER, 0))

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_text(path: Path) -> str:
    """The file's text without its line end; empty where it is missing or refuses."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """The file's number; None where there is none."""
    try:
        return int(read_text(path))
    except ValueError:
        return None
