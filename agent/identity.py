"""Who this device is to its orchestrator: what joining and renewing wrote, and every later start reads."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.address import Address, parse_address
from agent.durable_file import storage_error, sync_directory, write_durably
from agent.errors import ConfigurationError, NotJoinedError
from agent.state_directory import StateDirectory

# In every server certificate, so that a device verifies the server by it, whatever address it dialled.
SERVER_NAME = "orchestrator.fleetfit.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the orchestrator called this device, and where it listens for it."""

    device_id: str
    name: str
    # Where the device joined.
    public_address: Address
    # Where its stream goes.
    device_address: Address
    joined_at: datetime
    # By this device's clock.
    certificate_issued_at: datetime
    certificate_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """PEM: the key that never leaves the device, its certificate, and the authority that signed both sides."""

    key: bytes
    certificate: bytes
    authority: bytes


def load_identity(state: StateDirectory) -> Identity:
    """The identity in the state directory.

    Raises:
        NotJoinedError: There is none.
        ConfigurationError: There is one that cannot be read.
    """
    try:
        record = json.loads(state.identity_record.read_bytes())
        return Identity(
            device_id=str(record["device_id"]),
            name=str(record["name"]),
            public_address=parse_address(record["public_address"], default_port=None),
            device_address=parse_address(record["device_address"], default_port=None),
            joined_at=datetime.fromisoformat(record["joined_at"]),
            certificate_issued_at=datetime.fromisoformat(record["certificate_issued_at"]),
            certificate_expires_at=datetime.fromisoformat(record["certificate_expires_at"]),
        )
    except FileNotFoundError as error:
        raise NotJoinedError(
            f"this device has not joined a fleet ({state.root})",
            hint="make a token with 'fleetfit join-token create' and run the command that it prints",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{state.identity_record} is damaged", hint="run 'fleetfit-agent leave' and join again"
        ) from error
    except OSError as error:
        raise storage_error(error, state.identity_record) from error


def load_credentials(state: StateDirectory) -> Credentials:
    """The key and the certificates of a device that has joined.

    Raises:
        ConfigurationError: One of them cannot be read.
    """
    try:
        return Credentials(
            key=state.key.read_bytes(),
            certificate=state.certificate.read_bytes(),
            authority=state.authority.read_bytes(),
        )
    except OSError as error:
        raise storage_error(error, Path(error.filename or state.identity)) from error


def store_identity(
    state: StateDirectory, identity: Identity, *, certificate: bytes, authority: bytes, trust_root: bytes
) -> None:
    """Writes what joining gave. The record comes last: the device has joined exactly when it is there.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: The directory cannot be written.
    """
    write_durably(state.trust_root, trust_root)
    write_durably(state.authority, authority)
    write_durably(state.certificate, certificate)
    write_identity_record(state, identity)


def write_identity_record(state: StateDirectory, identity: Identity) -> None:
    """Writes the record alone: key and certificate are those that it speaks of.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: The directory cannot be written.
    """
    record = {
        "device_id": identity.device_id,
        "name": identity.name,
        "public_address": str(identity.public_address),
        "device_address": str(identity.device_address),
        "joined_at": identity.joined_at.isoformat(),
        "certificate_issued_at": identity.certificate_issued_at.isoformat(),
        "certificate_expires_at": identity.certificate_expires_at.isoformat(),
    }
    write_durably(state.identity_record, json.dumps(record, indent=2).encode())


def forget_identity(state: StateDirectory) -> None:
    """Removes the identity and all that belongs to its fleet; installed releases stay where they are.

    The record goes first, so that a half-finished removal is a device that has not joined.

    Raises:
        ConfigurationError: Something cannot be removed.
    """
    try:
        state.identity_record.unlink(missing_ok=True)
        if state.identity.is_dir():
            sync_directory(state.identity)
        for path in (state.next_key, state.renewed, state.key, state.certificate, state.authority, state.status):
            path.unlink(missing_ok=True)
        # Jobs, the outbox and the updater's journal, with what SQLite keeps beside them.
        for path in state.root.glob("*.db*"):
            path.unlink()
        for directory in (state.trust, state.stage):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)
    except OSError as error:
        raise storage_error(error, Path(error.filename or state.root)) from error
