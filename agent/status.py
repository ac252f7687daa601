"""What a running agent says of itself to other processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """What the agent does now. Times are ISO 8601, in UTC."""

    process_id: int
    started_at: str
    connected: bool = False
    # Since when it is connected, or not.
    since: str = ""
    session_epoch: int = 0
    activity: str = "idle"
    # Why it is not connected.
    problem: str = ""


class StatusFile:
    """The file with the status; changed seldom, because storage cards wear out, and never synced: it is no state.

    Args:
        path: The file; whoever holds the state directory writes it.
        status: What it says at the start.
    """

    def __init__(self, path: Path, status: AgentStatus) -> None:
        self._path = path
        self._status = status
        self._write()

    def update(self, **changes: bool | int | str) -> None:
        """Says something new."""
        status = replace(self._status, **changes)  # type: ignore[arg-type]
        if status != self._status:
            self._status = status
            self._write()

    def remove(self) -> None:
        """The agent is about to end."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _write(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        # A full disk must not stop an agent that only wants to say how it is.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(self._status)))
            os.replace(temporary, self._path)


def read_status(path: Path) -> AgentStatus | None:
    """What the agent said last; None where there is nothing, or nothing that this version understands."""
    try:
        return AgentStatus(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
