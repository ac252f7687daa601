"""The ``fleetfit`` command: runs it, and turns whatever happens into an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

# What the extras bring; anything else that is missing is a fault of ours.
_EXTRAS = {
    "click": "cli",
    "rich": "cli",
    "pydantic": "cli",
    "ruamel": "cli",
    "platformdirs": "cli",
    "torch": "orchestrator",
    "ray": "orchestrator",
    "sqlalchemy": "orchestrator",
    "alembic": "orchestrator",
    "obstore": "orchestrator",
    "jinja2": "orchestrator",
}


def main() -> None:
    """Runs the command line of this process, and exits."""
    # The transport's own log lines would stand between the user and the one line that says what to do.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Ray starts processes after gRPC has started threads: gRPC is to leave forks alone.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has read enough. Nothing more may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line, and returns its exit code. Nothing is raised but an interrupt of the interpreter."""
    try:
        from orchestrator.cli.invocation import invoke  # noqa: PLC0415 - its libraries may be absent

        return invoke(arguments)
    except ModuleNotFoundError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        whole = (
            f"pip install 'fleetfit[{extra}]'" if extra else "this installation is not whole: install fleetfit again"
        )
        print(f"error: this command needs the package '{error.name}', which is not installed", file=sys.stderr)
        print(f"hint: {whole}", file=sys.stderr)
        return 1
