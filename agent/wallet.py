"""What this device proves itself with: the identity that counts, and the renewed one that has yet to be used once.

Both lie on the disk until the orchestrator has welcomed the renewed one, so a process that is killed at any step finds
one that works. What was written last of a renewal is tried first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from agent.durable_file import storage_error, sync_directory, write_durably
from agent.errors import AgentError
from agent.identity import Credentials, Identity, load_credentials, load_identity, write_identity_record
from agent.state_directory import StateDirectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RenewedKey:
    """A key that was certified for this device; both PEM."""

    key: bytes
    certificate: bytes
    issued_at: datetime
    expires_at: datetime


def store_renewed_key(state: StateDirectory, renewed: RenewedKey) -> None:
    """Writes the renewed key beside the one that counts.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: The directory cannot be written.
    """
    record = {
        "key": renewed.key.decode(),
        "certificate": renewed.certificate.decode(),
        "issued_at": renewed.issued_at.isoformat(),
        "expires_at": renewed.expires_at.isoformat(),
    }
    write_durably(state.renewed, json.dumps(record, indent=2).encode())


def forget_renewed_key(state: StateDirectory) -> None:
    """Removes what a renewal left, used or not.

    Raises:
        ConfigurationError: Something cannot be removed.
    """
    try:
        # The key first: while the whole is there, it is what counts.
        for path in (state.next_key, state.renewed):
            path.unlink(missing_ok=True)
        if state.identity.is_dir():
            sync_directory(state.identity)
    except OSError as error:
        raise storage_error(error, Path(error.filename or state.identity)) from error


class Wallet:
    """The identity of an agent that runs, and its renewal.

    Args:
        state: Where it lies; held by the caller.

    Raises:
        NotJoinedError: There is none.
        ConfigurationError: It cannot be read.
    """

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self.identity: Identity = load_identity(state)
        self._current = load_credentials(state)
        self._renewed = _load_renewed_key(state)
        self._try_renewed = True
        # A renewed key is there that no connection uses yet.
        self.renewed = asyncio.Event()

    @property
    def holds_renewed(self) -> bool:
        """Whether a renewed key waits for its first use."""
        return self._renewed is not None

    def credentials(self) -> Credentials:
        """What the next connection shows."""
        self.renewed.clear()
        if self._renewed is None or not self._try_renewed:
            return self._current
        return replace(self._current, key=self._renewed.key, certificate=self._renewed.certificate)

    def take_renewed(self) -> None:
        """Uses the renewed key from the next connection on."""
        self._renewed = _load_renewed_key(self._state)
        self._try_renewed = True
        if self._renewed is not None:
            self.renewed.set()

    def accepted(self) -> None:
        """The orchestrator welcomed what ``credentials`` gave last: the other one is done with."""
        if self._renewed is None:
            return
        try:
            if self._try_renewed:
                self._replace_current(self._renewed)
            forget_renewed_key(self._state)
        except AgentError as error:
            # Nothing is lost: the renewed key stays beside, and is tried first after a start.
            _log.error("the renewed certificate cannot be put in its place: %s", error.message)
            return
        self._renewed = None

    def refused(self) -> None:
        """The orchestrator refused what ``credentials`` gave last: where there is another one, it is next."""
        self._try_renewed = not self._try_renewed

    def _replace_current(self, renewed: RenewedKey) -> None:
        identity = replace(
            self.identity, certificate_issued_at=renewed.issued_at, certificate_expires_at=renewed.expires_at
        )
        write_durably(self._state.key, renewed.key)
        write_durably(self._state.certificate, renewed.certificate)
        write_identity_record(self._state, identity)
        self._current = replace(self._current, key=renewed.key, certificate=renewed.certificate)
        self.identity = identity
        _log.info("the renewed certificate is in use, until %s", f"{renewed.expires_at:%Y-%m-%d}")


def _load_renewed_key(state: StateDirectory) -> RenewedKey | None:
    """The renewed key on the disk; None where there is none that can be read: then it is simply made again."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(state.renewed.read_bytes())
        return RenewedKey(
            key=record["key"].encode(),
            certificate=record["certificate"].encode(),
            issued_at=datetime.fromisoformat(record["issued_at"]),
            expires_at=datetime.fromisoformat(record["expires_at"]),
        )
    return None
