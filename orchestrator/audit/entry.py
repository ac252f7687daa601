"""One entry of the audit log, and how entries are chained. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

# What the first entry is chained to.
BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody asked the orchestrator to change."""

    # From 1 on, without gaps.
    number: int
    recorded_at: datetime
    actor: str
    method: str
    parameters: str
    outcome: str
    request_id: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What following the chain has shown."""

    entries: int
    # Number that the first entry has, or should have, that is not what was recorded; None: all hold.
    first_broken: int | None
    last_hash: str


def chained(
    previous: AuditEntry | None,
    *,
    recorded_at: datetime,
    actor: str,
    method: str,
    parameters: str,
    outcome: str,
    request_id: str,
) -> AuditEntry:
    """The entry that follows ``previous``; the first one where there is none."""
    number = previous.number + 1 if previous is not None else 1
    previous_hash = previous.hash if previous is not None else BEGINNING
    at = recorded_at.astimezone(timezone.utc)
    return AuditEntry(
        number=number,
        recorded_at=at,
        actor=actor,
        method=method,
        parameters=parameters,
        outcome=outcome,
        request_id=request_id,
        previous_hash=previous_hash,
        hash=_hash(number, at, actor, method, parameters, outcome, request_id, previous_hash),
    )


def verify(entries: Iterable[AuditEntry]) -> Verdict:
    """Follows the chain. Whatever was altered, removed or put in between is found at the first place where it shows.

    Args:
        entries: All of them, oldest first.
    """
    last, count = BEGINNING, 0
    for count, entry in enumerate(entries, start=1):
        expected = _hash(
            entry.number,
            entry.recorded_at,
            entry.actor,
            entry.method,
            entry.parameters,
            entry.outcome,
            entry.request_id,
            entry.previous_hash,
        )
        if entry.number != count or entry.previous_hash != last or entry.hash != expected:
            return Verdict(entries=count, first_broken=count, last_hash=last)
        last = entry.hash
    return Verdict(entries=count, first_broken=None, last_hash=last)


def _hash(number: int, recorded_at: datetime, *texts: str) -> str:
    moment = recorded_at.astimezone(timezone.utc).isoformat(timespec="microseconds")
    # A list in JSON: no two different entries are the same bytes.
    return hashlib.sha256(json.dumps([number, moment, *texts]).encode()).hexdigest()
