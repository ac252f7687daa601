"""The keys that sign releases: one folder a role, so that each role's keys can live somewhere else.

::

    keys/root/<key id>.pem        who may sign what; offline in production
    keys/targets/<key id>.pem     which manifests are genuine; two of two in production, one of them a person's
    keys/snapshot/<key id>.pem    which versions belong together; online
    keys/timestamp/<key id>.pem   that this is still the newest; online

Which keys a role has, and how many must sign, is said by the root metadata and not by what lies in these folders: a
role whose keys are elsewhere has an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from orchestrator.durable_file import sync_directory, write_durably
from orchestrator.errors import OperationError

ROLES = ("root", "targets", "snapshot", "timestamp")


class SigningKeys:
    """The private keys that this orchestrator holds."""

    def __init__(self, directory: Path, signers: Mapping[str, tuple[CryptoSigner, ...]]) -> None:
        self._directory = directory
        self._signers = signers

    @classmethod
    def load(cls, directory: Path) -> SigningKeys:
        """The keys in a directory; none, where there is no directory.

        Raises:
            OperationError: A file there is not a private key, or cannot be read.
        """
        return cls(directory, {role: _load_role(directory / role) for role in ROLES})

    @classmethod
    def load_or_create(cls, directory: Path) -> SigningKeys:
        """The keys in a directory, and a new one for each role that has none: good for development and small fleets.

        Raises:
            OperationError: A file there is not a private key, or the directory cannot be written.
        """
        keys = cls.load(directory)
        for role in ROLES:
            if not keys.signers(role):
                _create(directory / role)
        return cls.load(directory)

    def signers(self, role: str) -> tuple[CryptoSigner, ...]:
        """The keys of a role, in the order of their ids; empty where they are kept elsewhere."""
        return self._signers[role]

    def holding(self, role: str) -> Path:
        """Where the keys of a role would be."""
        return self._directory / role


def _load_role(directory: Path) -> tuple[CryptoSigner, ...]:
    signers = []
    for path in directory.glob("*.pem"):
        try:
            signers.append(CryptoSigner(load_pem_private_key(path.read_bytes(), password=None)))
        except OSError as error:
            raise OperationError(f"cannot read the signing key {path}: {error.strerror}") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise OperationError(
                f"{path} is not a private key that can sign releases", hint="PEM, PKCS #8, without a password"
            ) from error
    return tuple(sorted(signers, key=lambda signer: str(signer.public_key.keyid)))


def _create(directory: Path) -> None:
    """Makes an ed25519 key, readable by its owner only."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (directory, directory.parent):
            folder.chmod(0o700)
            sync_directory(folder)
    except OSError as error:
        raise OperationError(f"cannot make {directory}: {error.strerror}") from error
    signer = CryptoSigner.generate_ed25519()
    write_durably(directory / f"{signer.public_key.keyid}.pem", signer.private_bytes, mode=0o600)
