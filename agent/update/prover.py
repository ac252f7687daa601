"""The process that proves one release: asks the agent for files, answers with the manifest or the reason why not."""

from __future__ import annotations

import json
import os
import sys
from typing import BinaryIO

from agent.errors import AgentError
from agent.profiling.sandbox import die_with
from agent.update.metadata import prove
from agent.update.proof import ProofRequest

# Messages quote what was served; a line is read as a whole.
_TEXT_LIMIT = 2000


def main() -> None:
    """Does what the first line of the standard input asks for, for the agent whose process id is the argument."""
    die_with(int(sys.argv[1]))
    questions, answers = _pipes()
    request = ProofRequest.from_json(answers.readline().decode())

    def fetch(path: str) -> bytes | None:
        _say(questions, {"fetch": path})
        size_bytes = json.loads(answers.readline())["size_bytes"]
        return None if size_bytes is None else answers.read(size_bytes)

    try:
        manifest = prove(request, fetch)
    except AgentError as error:
        _say(questions, {"error": error.reason, "message": error.message[:_TEXT_LIMIT], "hint": error.hint})
    else:
        _say(questions, {"size_bytes": len(manifest)}, manifest)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Where to ask and where the answers come; what a library prints goes to the agent's log instead."""
    questions = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return questions, sys.stdin.buffer


def _say(questions: BinaryIO, message: dict[str, object], data: bytes = b"") -> None:
    view = memoryview(json.dumps(message).encode() + b"\n" + data)
    while view:
        view = view[questions.write(view) :]


if __name__ == "__main__":
    main()
