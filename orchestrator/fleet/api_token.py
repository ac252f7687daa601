"""An API token: what a person or a script shows to be let in, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Role(str, Enum):
    """What the bearer of a token may do."""

    # Reads everything.
    VIEWER = "viewer"
    # And starts searches and rollouts, and lets devices in.
    OPERATOR = "operator"
    # And signs releases.
    SIGNER = "signer"
    # And makes and revokes tokens.
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """What is kept of a token: never the secret, only its hash."""

    id: str
    name: str
    role: Role
    secret_hash: str
    created_at: datetime
    # None: it lasts until it is revoked.
    expires_at: datetime | None = None
    revoked: bool = False
