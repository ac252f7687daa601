"""Loading a workload file: the code is run, and the one workload in it is made."""

from __future__ import annotations

import hashlib
import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pipelines.blame import blamed, definition_line, describe
from pipelines.errors import WorkloadError
from pipelines.workload import Workload


def load_workload(path: Path) -> Workload:
    """The workload in a file.

    Raises:
        WorkloadError: The file cannot be read or does not run, or holds no complete workload; names file and line.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise WorkloadError(message, hint="'fleetfit init' writes a workload to start from", file=str(path)) from error
    return load_workload_source(source, str(path))


def load_workload_source(source: bytes, filename: str) -> Workload:
    """The workload in the bytes of a file, as a worker gets them; nothing is written to disk.

    Raises:
        WorkloadError: As for ``load_workload``.
    """
    module = _run(source, filename)
    kind = _only_workload(module, filename)
    missing = sorted(kind.__abstractmethods__)
    if missing:
        names = ", ".join(f"{name}()" for name in missing)
        message = f"class {kind.__name__} has no method {names}"
        raise blamed(kind, definition_line(kind), message, hint="'fleetfit init' writes a workload that has them all")
    try:
        return kind()
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
        line = (frames[-1].lineno or 0) if frames else definition_line(kind)
        message = f"{kind.__name__}() raised {describe(error)}"
        raise blamed(kind, line, message, hint="a workload is made without arguments") from error


def _run(source: bytes, filename: str) -> ModuleType:
    digest = hashlib.sha256(filename.encode() + b"\0" + source).hexdigest()[:16]
    module = ModuleType(f"fleetfit_workload_{digest}")
    module.__file__ = filename
    try:
        text = source.decode("utf-8")
        code = compile(text, filename, "exec", dont_inherit=True)
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{filename}: is not UTF-8 text", file=filename) from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        message = f"{filename}:{line}: {describe(error)}"
        raise WorkloadError(message, file=filename, line=line) from error
    # Python itself looks here: tracebacks and inspect show the lines even where there is no such file.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    # Dataclasses, and whatever else asks for the module of a class, must find it.
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - a workload is the user's own code, and running it is the point
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
        line = (frames[-1].lineno or 0) if frames else 1
        hint = (
            "a workload is one file: install what it imports on each machine" if isinstance(error, ImportError) else ""
        )
        message = f"{filename}:{line}: {describe(error)}"
        raise WorkloadError(message, hint=hint, file=filename, line=line) from error
    return module


def _only_workload(module: ModuleType, filename: str) -> type[Workload]:
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Workload) and value.__module__ == module.__name__
    ]
    # A class that another one in the file builds on is a part, not the workload.
    leaves = [kind for kind in own if not any(other is not kind and issubclass(other, kind) for other in own)]
    if not leaves:
        message = f"{filename}: holds no class that subclasses pipelines.Workload"
        raise WorkloadError(message, hint="'fleetfit init' writes a workload to start from", file=filename)
    if len(leaves) > 1:
        names = " and ".join(sorted(kind.__name__ for kind in leaves))
        raise blamed(
            leaves[-1], definition_line(leaves[-1]), f"more than one workload: {names}", hint="keep one a file"
        )
    return leaves[0]
