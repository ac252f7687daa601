"""A byte of a stored artifact, changed and put back: what someone with access to the server's disk could do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import OperationError


@contextmanager
def tampered(artifacts: Path, sha256: str) -> Iterator[Path]:
    """The artifact's file with its middle byte inverted, until the block is left.

    Raises:
        OperationError: The artifact is not in that folder.
    """
    path = next((each for each in artifacts.rglob("*") if each.is_file() and sha256 in each.name), None)
    if path is None:
        raise OperationError(f"the artifact {sha256} is not in {artifacts}")
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    try:
        _invert_middle_byte(path)
        try:
            yield path
        finally:
            _invert_middle_byte(path)
    finally:
        path.chmod(mode)


def _invert_middle_byte(path: Path) -> None:
    with path.open("r+b") as file:
        middle = path.stat().st_size // 2
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 0xFF]))
        file.flush()
        os.fsync(file.fileno())
