"""The device's key: made here, never sent. Imports cryptography, which a running agent does without."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.durable_file import storage_error, write_durably
from agent.errors import ConfigurationError


def load_or_make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 key at ``path``; on the disk before this returns.

    A key that is there already is used again: it may be that of a request whose answer was lost, and the
    orchestrator gives the same identity to the same key.

    Raises:
        ConfigurationError: There is a key that cannot be read, or none can be written.
        NoSpaceError: The disk is full.
    """
    try:
        stored = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_durably(path, private_pem(key), mode=0o600)
        return key
    except OSError as error:
        raise storage_error(error, path) from error
    except (ValueError, TypeError) as error:
        raise _damaged(path) from error
    if not isinstance(stored, ec.EllipticCurvePrivateKey):
        raise _damaged(path)
    return stored


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as the agent keeps it: PKCS #8, PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PKCS #10 request in PEM. It names nobody: the orchestrator decides what the device is called."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fleetfit device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def _damaged(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a key of this agent", hint="run 'fleetfit-agent leave' to remove it, then join again"
    )
