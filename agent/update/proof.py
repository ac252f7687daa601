"""The proof of a release in a process of its own: the agent itself never loads the TUF client.

On a device that memory is better used otherwise; and what parses files from outside can be ended at any moment. The two
processes speak in lines of JSON, some of them followed by bytes whose number the line names.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.errors import AgentError, ConfigurationError, DeliveryError, NoSpaceError, SignatureRefusedError

# What the proof may end in; anything else is a fault of ours.
_ERRORS: dict[str, type[AgentError]] = {
    kind.reason: kind for kind in (SignatureRefusedError, NoSpaceError, ConfigurationError)
}

Fetch = Callable[[str], Awaitable["bytes | None"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequest:
    """What is to be proven, and by what."""

    # Path of the manifest in the release repository, and what the orchestrator says that its hash is.
    path: str
    sha256: str
    # The root metadata that the device was given when it joined.
    trust_root: Path
    # Where verified metadata is kept between proofs.
    directory: Path
    # The time that expiry is held against.
    now: datetime

    def to_json(self) -> str:
        """One line."""
        return json.dumps({
            "path": self.path,
            "sha256": self.sha256,
            "trust_root": str(self.trust_root),
            "directory": str(self.directory),
            "now": self.now.isoformat(),
        })  # fmt: skip

    @classmethod
    def from_json(cls, line: str) -> ProofRequest:
        """The request that `to_json` wrote."""
        values = json.loads(line)
        return cls(
            path=values["path"],
            sha256=values["sha256"],
            trust_root=Path(values["trust_root"]),
            directory=Path(values["directory"]),
            now=datetime.fromisoformat(values["now"]),
        )


Prove = Callable[[ProofRequest, Fetch], Awaitable[bytes]]


async def prove_apart(request: ProofRequest, fetch: Fetch) -> bytes:
    """The proven manifest's bytes; see ``agent.update.metadata.prove``. Cancelled, it ends the process.

    Args:
        request: What is to be proven.
        fetch: Returns a file of the repository, None where there is none. What it raises passes through.

    Raises:
        SignatureRefusedError: The repository does not prove it; the message names the attack.
        NoSpaceError: The disk is full.
        ConfigurationError: The metadata cannot be kept.
        DeliveryError: The process ended without an answer.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent.update.prover",
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        return await _converse(process, request, fetch)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _converse(process: asyncio.subprocess.Process, request: ProofRequest, fetch: Fetch) -> bytes:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(request.to_json().encode() + b"\n")
        while line := await process.stdout.readline():
            message: dict[str, Any] = json.loads(line)
            if "fetch" in message:
                data = await fetch(message["fetch"])
                answer = {"size_bytes": None if data is None else len(data)}
                process.stdin.write(json.dumps(answer).encode() + b"\n" + (data or b""))
                await process.stdin.drain()
            elif "error" in message:
                raise _ERRORS[message["error"]](message["message"], hint=message["hint"])
            else:
                return await process.stdout.readexactly(message["size_bytes"])
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        raise DeliveryError("the process that proves releases went away") from error
    raise DeliveryError("the process that proves releases ended without an answer")
