"""The part of a renewal that needs cryptography, in a process that ends: the agent itself stays 10 MB lighter.

Run by the agent as ``python -m agent.renewal_worker STATE_DIR request``, which prints a signing request for the next
key, or ``… accept``, which reads the certificate for it, checks it, and stores both as the renewed key.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from agent.authority import load_certificate
from agent.errors import AgentError, JoinError
from agent.identity import load_credentials
from agent.key import load_or_make_key, private_pem, signing_request
from agent.state_directory import StateDirectory
from agent.wallet import RenewedKey, store_renewed_key


def request(state: StateDirectory) -> bytes:
    """A signing request for the next key, which is on the disk before this returns.

    Raises:
        ConfigurationError: The key cannot be read or written.
        NoSpaceError: The disk is full.
    """
    return signing_request(load_or_make_key(state.next_key))


def accept(state: StateDirectory, certificate_pem: bytes, *, now: datetime) -> None:
    """Stores the next key with its certificate as the renewed key.

    Raises:
        JoinError: The certificate is not one that this device could show.
        ConfigurationError: Something cannot be read or written.
        NoSpaceError: The disk is full.
    """
    key = load_or_make_key(state.next_key)
    certificate, authority = load_certificate(certificate_pem), load_certificate(load_credentials(state).authority)
    if certificate.public_key() != key.public_key():
        raise JoinError("the orchestrator certified another key than the one that it was asked to")
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise JoinError("the renewed certificate was not signed by the authority of this fleet") from error
    if certificate.not_valid_after_utc <= now:
        raise JoinError("the renewed certificate has expired already", hint="set the clock of this device")
    store_renewed_key(
        state,
        RenewedKey(
            key=private_pem(key),
            certificate=certificate_pem,
            issued_at=now,
            expires_at=certificate.not_valid_after_utc,
        ),
    )


def main() -> int:
    """Does the step that the command line names; what went wrong goes to standard error, in one line."""
    state = StateDirectory(Path(sys.argv[1]))
    try:
        if sys.argv[2] == "request":
            sys.stdout.buffer.write(request(state))
        else:
            accept(state, sys.stdin.buffer.read(), now=datetime.now(tz=timezone.utc))
    except AgentError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
