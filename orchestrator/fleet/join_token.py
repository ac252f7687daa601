"""A join token: the one-time secret that lets a machine become a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """What is kept of a token: never the secret, only its hash."""

    id: str
    secret_hash: str
    created_at: datetime
    expires_at: datetime
    maximum_uses: int = 1
    uses: int = 0
    revoked: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
