"""Blame: which line of the user's file an error belongs to."""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import PipelinesError, WorkloadError
from pipelines.workload import Workload


@contextmanager
def user_code(workload: Workload, action: str, *, method: str = "") -> Iterator[None]:
    """Turns whatever the user's code raises inside into a WorkloadError that names file and line.

    Args:
        workload: Whose code it is.
        action: What was being done: ``train_data()``, ``the model's forward``.
        method: Method to blame where no line of the file was on the way.

    Raises:
        WorkloadError: The code inside raised.
    """
    try:
        yield
    except PipelinesError:
        raise
    except Exception as error:
        file = workload_file(type(workload))
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = (frames[-1].lineno or 0) if frames else definition_line(type(workload), method)
        raise blamed(type(workload), line, f"{action} raised {describe(error)}") from error


def blamed(kind: type[Workload], line: int, message: str, *, hint: str = "") -> WorkloadError:
    """The error, its message beginning with the place."""
    file = workload_file(kind)
    return WorkloadError(f"{file}:{line}: {message}", hint=hint, file=file, line=line)


def describe(error: BaseException) -> str:
    """Type and first line of an error's message."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def workload_file(kind: type[Workload]) -> str:
    """The file that a workload class is written in, as it was given."""
    module = sys.modules.get(kind.__module__)
    return getattr(module, "__file__", None) or f"<{kind.__module__}>"


def definition_line(kind: type[Workload], method: str = "") -> int:
    """The line on which the class, or the method where the class itself has it, begins; 0 where it is not known."""
    function = vars(kind).get(method)
    if function is not None and hasattr(function, "__code__"):
        return int(function.__code__.co_firstlineno)
    source = "".join(linecache.getlines(workload_file(kind)))
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return 0
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
    return lines[0] if lines else 0
