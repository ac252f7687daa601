"""Bearer secrets: how they are made, read, and kept as a hash only.

A secret reads ``<kind>.<id>.<160 random bits>``. The id finds the row, and may be shown. With 160 random bits a plain
SHA-256 is enough, because there is nothing to guess.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

_RANDOM_BYTES = 20
_ID_BYTES = 5
_SHAPE = re.compile(r"([a-z0-9]{1,8})\.([a-z2-7]{8})\.([a-z2-7]{32})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret in the hands of its bearer. Never stored, never logged."""

    kind: str
    id: str
    text: str = field(repr=False)

    @property
    def hash(self) -> str:
        """What is stored of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, stored_hash: str) -> bool:
        """Whether this is the secret that ``stored_hash`` was made of; takes the same time either way."""
        return hmac.compare_digest(self.hash, stored_hash)


def make_secret(kind: str) -> Secret:
    """A new secret of the given kind."""
    secret_id = _base32(secrets.token_bytes(_ID_BYTES))
    return Secret(kind=kind, id=secret_id, text=f"{kind}.{secret_id}.{_base32(secrets.token_bytes(_RANDOM_BYTES))}")


def read_secret(kind: str, text: str) -> Secret | None:
    """The secret that ``text`` spells; None where it cannot be one of that kind."""
    match = _SHAPE.fullmatch(text.strip()) if len(text) <= 100 else None
    if match is None or match[1] != kind:
        return None
    return Secret(kind=kind, id=match[2], text=match[0])


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().lower().rstrip("=")
