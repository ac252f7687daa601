"""What ``fleetfit-agent status`` tells, from what lies in the state directory."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import asdict
from typing import Any

from agent.identity import load_identity
from agent.logs import printable
from agent.state_directory import StateDirectory
from agent.status import read_status
from agent.update.slots import Slots

_SCHEMA_VERSION = 1


def status_report(state: StateDirectory) -> dict[str, Any]:
    """The device's status as JSON types.

    Raises:
        NotJoinedError: This machine has not joined a fleet.
        ConfigurationError: The identity cannot be read.
    """
    identity = load_identity(state)
    running = state.held()
    status = read_status(state.status) if running else None
    served = Slots(state.root).served()
    return {
        "schema_version": _SCHEMA_VERSION,
        "device_id": identity.device_id,
        "name": identity.name,
        "orchestrator": str(identity.device_address),
        "joined_at": identity.joined_at.isoformat(),
        "certificate_expires_at": identity.certificate_expires_at.isoformat(),
        "state_dir": str(state.root),
        "running": running,
        "agent": None if status is None else asdict(status),
        "active_release": None
        if served is None
        else {"name": served.name, "version": served.version, "manifest_sha256": served.sha256},
        "waiting_messages": _waiting_messages(state),
    }


def status_text(report: dict[str, Any]) -> str:
    """The report for people, a line a fact."""
    agent = report["agent"] or {}
    release = report["active_release"]
    if not report["running"]:
        state = "not running (start it: fleetfit-agent run)"
    elif agent.get("connected"):
        state = f"connected since {agent['since']}"
    else:
        state = f"running, not connected{': ' if agent.get('problem') else ''}{agent.get('problem', '')}"
    lines = {
        "device": f"{report['name']} ({report['device_id']})",
        "orchestrator": report["orchestrator"],
        "state": state,
        "activity": agent.get("activity", "none"),
        "release": f"{release['name']}:{release['version']}" if release else "none",
        "waiting": f"{report['waiting_messages']} messages without a receipt",
        "certificate": f"until {report['certificate_expires_at']}",
        "state dir": report["state_dir"],
    }
    return "\n".join(f"{name + ':':<14}{printable(text)}" for name, text in lines.items())


def _waiting_messages(state: StateDirectory) -> int:
    """How many messages wait for a receipt; none where there is no database yet."""
    if not state.database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{state.database}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])
        except sqlite3.Error:
            return 0
