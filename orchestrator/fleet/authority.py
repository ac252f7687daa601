"""The certificate authority of this orchestrator: makes its own trust at the first start, and keeps it."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.durable_file import write_durably
from orchestrator.errors import InvalidInputError, OperationError
from orchestrator.fleet.certificates import (
    SERVER_LIFETIME,
    SERVER_NAME,
    certificate_addresses,
    make_ca_certificate,
    make_device_certificate,
    make_key,
    make_server_certificate,
)

_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """What the server shows: its key, and its certificate followed by the authority's; both PEM."""

    key_pem: bytes
    chain_pem: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCertificate:
    """A certificate that was issued to a device, PEM."""

    pem: bytes
    expires_at: datetime


class Authority:
    """Signs the certificates of the server and of the devices, with a key that never leaves its folder.

    Args:
        folder: Where ``ca.pem``, ``ca-key.pem``, ``server.pem`` and ``server-key.pem`` lie.
        addresses: Names and IPs by which the server is reached, besides the ones of this machine.
        now: Time of the start; decides whether a certificate is due.

    Raises:
        InvalidInputError: An address is neither a host name nor an IP.
        OperationError: The folder cannot be written, or lost one half of the authority.
    """

    def __init__(self, folder: Path, *, addresses: Iterable[str], now: datetime) -> None:
        self._folder = folder
        self._renewing = threading.Lock()
        self._addresses = _own_addresses() | frozenset(_checked_address(address) for address in addresses)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OperationError(f"cannot make {folder}: {error.strerror}") from error
        self._key, self._certificate = self._load_or_make(now)
        self._server = self._load_server() or self._issue_server(now)
        self.server_certificate(now)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def ca_hash(self) -> str:
        """``sha256:`` and the hash over the DER of the own certificate: what a device checks before it joins."""
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    def server_certificate(self, now: datetime) -> ServerCertificate:
        """The server's certificate; issued anew when a third of its life is left, or the addresses have changed.

        Safe to call from any thread.
        """
        with self._renewing:
            certificate = x509.load_pem_x509_certificate(self._server.chain_pem)
            due = certificate.not_valid_after_utc - now < SERVER_LIFETIME / 3
            if due or certificate_addresses(certificate) != self._addresses:
                self._server = self._issue_server(now)
            return self._server

    def issue_device_certificate(
        self, *, key: ec.EllipticCurvePublicKey, device_id: str, now: datetime
    ) -> DeviceCertificate:
        """A certificate that makes the holder of ``key`` the device ``device_id``. The caller has seen that proven."""
        certificate = make_device_certificate(
            ca=self._certificate, ca_key=self._key, key=key, device_id=device_id, now=now
        )
        return DeviceCertificate(
            pem=certificate.public_bytes(serialization.Encoding.PEM),
            expires_at=certificate.not_valid_after_utc,
        )

    def _load_or_make(self, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        certificate_path, key_path = self._folder / "ca.pem", self._folder / "ca-key.pem"
        if not certificate_path.exists():
            # A key alone is left over from a first start that was cut short: nothing was ever signed with it.
            key = make_key()
            certificate = make_ca_certificate(key, now)
            write_durably(key_path, _private_pem(key), mode=0o600)
            write_durably(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
            return key, certificate
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            loaded = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise self._broken(str(error)) from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or certificate.public_key() != loaded.public_key():
            raise self._broken("ca.pem and ca-key.pem do not belong together")
        return loaded, certificate

    def _load_server(self) -> ServerCertificate | None:
        """The certificate on disk; None where there is none that this authority signed."""
        try:
            key_pem = (self._folder / "server-key.pem").read_bytes()
            certificate = x509.load_pem_x509_certificate((self._folder / "server.pem").read_bytes())
            key = serialization.load_pem_private_key(key_pem, password=None)
            certificate.verify_directly_issued_by(self._certificate)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return None
        if key.public_key() != certificate.public_key():
            return None
        return self._server_files(key_pem, certificate)

    def _issue_server(self, now: datetime) -> ServerCertificate:
        key = make_key()
        certificate = make_server_certificate(
            ca=self._certificate, ca_key=self._key, key=key.public_key(), addresses=self._addresses, now=now
        )
        files = self._server_files(_private_pem(key), certificate)
        write_durably(self._folder / "server-key.pem", files.key_pem, mode=0o600)
        write_durably(self._folder / "server.pem", files.chain_pem)
        return files

    def _server_files(self, key_pem: bytes, certificate: x509.Certificate) -> ServerCertificate:
        own = certificate.public_bytes(serialization.Encoding.PEM)
        return ServerCertificate(
            key_pem=key_pem, chain_pem=own + self.certificate_pem, expires_at=certificate.not_valid_after_utc
        )

    def _broken(self, why: str) -> OperationError:
        return OperationError(
            f"the certificate authority in {self._folder} cannot be used: {why}",
            hint="restore the folder from a backup; without it every device has to join again",
            reason="AUTHORITY_BROKEN",
        )


def _own_addresses() -> frozenset[str]:
    names = {SERVER_NAME, "localhost", "127.0.0.1", "::1"}
    hostname = socket.gethostname()
    return frozenset(names | {hostname} if _HOST_NAME.fullmatch(hostname) else names)


def _checked_address(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        if _HOST_NAME.fullmatch(address) and len(address) <= 253:
            return address
    raise InvalidInputError(
        f"'{address}' is neither a host name nor an IP address", hint="for example --advertise fleet.example.org"
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
