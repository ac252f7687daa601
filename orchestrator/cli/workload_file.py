"""The workload's file as it is sent. Its code is read here, never run: that is the workers' part."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

from orchestrator.cli.errors import InvalidFileError
from orchestrator.cli.source_excerpt import excerpt
from orchestrator.errors import InvalidInputError

# What the orchestrator takes.
_MAXIMUM_BYTES = 512 * 2**10


def read_workload(path: Path) -> bytes:
    """The bytes of the file, which is Python by its syntax and defines a class.

    Raises:
        InvalidInputError: There is no such file, or it is no Python file.
        InvalidFileError: Its syntax is wrong; the message names line and column.
    """
    hint = "write one with 'fleetfit init', or see docs/workloads.md"
    if path.suffix != ".py":
        raise InvalidInputError(f"{path} is not a workload: a workload is one Python file", hint=hint)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"the workload {path} cannot be read: {error.strerror}", hint=hint) from error
    if len(source) > _MAXIMUM_BYTES:
        raise InvalidInputError(
            f"the workload {path} has {len(source)} bytes, more than the {_MAXIMUM_BYTES} that are sent",
            hint="keep data beside the code, and load it from where the workers can reach it",
        )
    try:
        with warnings.catch_warnings():
            # What the compiler has against the user's style is not ours to say.
            warnings.simplefilter("ignore")
            tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        lines = source.decode(errors="replace").splitlines()
        raise InvalidFileError(
            f"{path}:{line}:{column}: {error.msg}",
            excerpt=excerpt(lines, line, column),
            hint="the workload must be Python that this version reads",
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidInputError(f"the workload {path} is no Python source: {error}", hint=hint) from error
    if not any(isinstance(node, ast.ClassDef) for node in tree.body):
        raise InvalidInputError(f"the workload {path} defines no class", hint=hint)
    return source
