"""Whether a server is the one whose certificate authority was announced: decided before any secret is sent."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent.address import Address
from agent.concurrency import within
from agent.errors import AuthorityMismatchError, ConfigurationError, JoinError, UnreachableError
from agent.identity import SERVER_NAME

_CA_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")


def parse_ca_hash(text: str) -> str:
    """The hash in its one form, ``sha256:`` and 64 lower-case hexadecimal digits.

    Raises:
        ConfigurationError: It is not such a hash.
    """
    match = _CA_HASH.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(
            f"--ca-hash '{text}' is not a hash",
            hint="it is 'sha256:' and 64 hexadecimal digits, as 'fleetfit join-token create' prints it",
        )
    return f"sha256:{match[1].lower()}"


async def fetch_server_certificate(address: Address, *, timeout_s: float) -> bytes:
    """The certificate that the server shows, in PEM. Nothing is believed yet, and nothing is sent.

    Raises:
        UnreachableError: There is no server, or none that speaks TLS.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])

    async def ask() -> bytes | None:
        _, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=SERVER_NAME
        )  # fmt: skip
        try:
            shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return shown
        finally:
            writer.transport.abort()

    try:
        certificate = await within(ask(), timeout_s=timeout_s)
    except asyncio.TimeoutError as error:
        raise UnreachableError(
            f"the orchestrator at {address} does not answer", hint="check the address, and firewalls on the way"
        ) from error
    except ssl.SSLError as error:
        raise UnreachableError(
            f"what listens at {address} is no orchestrator: {error.reason or error}", hint="check the port"
        ) from error
    except OSError as error:
        raise UnreachableError(
            f"the orchestrator at {address} cannot be reached: {error.strerror or error}",
            hint="check the address, and that 'fleetfit up' runs there",
        ) from error
    if certificate is None:
        raise UnreachableError(f"what listens at {address} shows no certificate", hint="check the port")
    return ssl.DER_cert_to_PEM_cert(certificate).encode()


def check_authority(*, authority: bytes, ca_hash: str, server_certificate: bytes) -> None:
    """Returns when ``authority`` is the announced one and has signed ``server_certificate``; both in PEM.

    Raises:
        AuthorityMismatchError: It is another one, or did not sign it.
        JoinError: One of them is not a certificate.
    """
    ca, server = load_certificate(authority), load_certificate(server_certificate)
    found = f"sha256:{hashlib.sha256(ca.public_bytes(serialization.Encoding.DER)).hexdigest()}"
    if found != ca_hash:
        raise AuthorityMismatchError(
            f"the server has the authority {found}, not the announced {ca_hash}",
            hint="the token was not sent; check address and --ca-hash, or somebody stands between you and the server",
        )
    try:
        server.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthorityMismatchError(
            "the server shows the announced authority, but a certificate that this authority did not sign",
            hint="the token was not sent; somebody may stand between you and the server",
        ) from error


def check_validity(pem: bytes, *, whose: str, now: datetime) -> None:
    """Returns when the certificate is valid now.

    Raises:
        JoinError: It is not, or is no certificate.
    """
    certificate = load_certificate(pem)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise JoinError(
            f"the certificate of the {whose} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to"
            f" {certificate.not_valid_after_utc:%Y-%m-%d}, and this device's clock says {now:%Y-%m-%d}",
            hint="set the clock of this device",
        )


def load_certificate(pem: bytes) -> x509.Certificate:
    """The certificate in ``pem``.

    Raises:
        JoinError: There is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise JoinError("the server sent something that is not a certificate", hint="check address and port") from error
