"""X.509 as fleetfit uses it: what each kind of certificate says. Pure: keys and times are handed in."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.errors import InvalidInputError, UnauthenticatedError

# Every server certificate carries this name, so that a device can verify the server by it, whatever address it dialled.
SERVER_NAME = "orchestrator.fleetfit.internal"

CA_LIFETIME = timedelta(days=3653)
SERVER_LIFETIME = timedelta(days=365)
DEVICE_LIFETIME = timedelta(days=30)

# Boards without a battery-backed clock start a little in the past.
_BACKDATING = timedelta(hours=1)
_DEVICE_URI = "spiffe://fleetfit/device/"
# What the library raises for bytes that are not what they should be.
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
_DEVICE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SIGNING_REQUEST_LIMIT_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What a device's certificate proves."""

    device_id: str
    key_fingerprint: str
    expires_at: datetime


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_ca_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """The self-signed certificate of a new authority, good for ten years."""
    name = _name("fleetfit certificate authority")
    return (
        _builder(subject=name, issuer=name, key=key.public_key(), now=now, lifetime=CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_signing=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def make_server_certificate(
    *,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    addresses: Iterable[str],
    now: datetime,
) -> x509.Certificate:
    """A certificate for the server under all ``addresses`` (names or IPs), good for a year, and for nothing else."""
    names = x509.SubjectAlternativeName([_general_name(address) for address in sorted(set(addresses))])
    return (
        _builder(subject=_name(SERVER_NAME), issuer=ca.subject, key=key, now=now, lifetime=SERVER_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        .add_extension(names, critical=False)
        .add_extension(_authority_identifier(ca), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def make_device_certificate(
    *,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    device_id: str,
    now: datetime,
) -> x509.Certificate:
    """A certificate that makes the holder of ``key`` the device ``device_id`` for 30 days, and nothing else."""
    identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(_DEVICE_URI + device_id)])
    return (
        _builder(subject=_name("fleetfit device"), issuer=ca.subject, key=key, now=now, lifetime=DEVICE_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(identity, critical=False)
        .add_extension(_authority_identifier(ca), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def read_signing_request(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The key that a PKCS #10 request proves possession of. Nothing else in it is believed.

    Raises:
        InvalidInputError: It is not a PEM signing request, is not signed by its own key, or the key is not P-256.
    """
    if len(pem) > _SIGNING_REQUEST_LIMIT_BYTES:
        raise _bad_request(f"it is longer than {_SIGNING_REQUEST_LIMIT_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        signed_by_key = request.is_signature_valid
    except _UNREADABLE as error:
        raise _bad_request("it is not PKCS #10 in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _bad_request("its key is not on the curve P-256")
    if not signed_by_key:
        raise _bad_request("it is not signed by the key that it names")
    return key


def read_device_identity(pem: bytes) -> DeviceIdentity:
    """Which device a certificate stands for. The TLS layer has verified the chain; this reads the name in it.

    Raises:
        UnauthenticatedError: The certificate names no device.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = certificate.public_key()
    except (*_UNREADABLE, x509.ExtensionNotFound) as error:
        raise _no_device() from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    device_id = uris[0].removeprefix(_DEVICE_URI) if len(uris) == 1 and uris[0].startswith(_DEVICE_URI) else ""
    if not _DEVICE_ID.fullmatch(device_id) or not isinstance(key, ec.EllipticCurvePublicKey):
        raise _no_device()
    return DeviceIdentity(
        device_id=device_id, key_fingerprint=key_fingerprint(key), expires_at=certificate.not_valid_after_utc
    )


def key_fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 over the key's DER, in lower-case hexadecimal."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def certificate_addresses(certificate: x509.Certificate) -> frozenset[str]:
    """The names and IPs that a server certificate is good for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return frozenset(names.get_values_for_type(x509.DNSName)) | frozenset(
        str(address) for address in names.get_values_for_type(x509.IPAddress)
    )


def _builder(
    *, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATING)
        .not_valid_after(now + lifetime)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _key_usage(*, certificate_signing: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificate_signing,
        key_cert_sign=certificate_signing,
        crl_sign=certificate_signing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _bad_request(why: str) -> InvalidInputError:
    return InvalidInputError(f"the signing request cannot be used: {why}", reason="SIGNING_REQUEST_INVALID")


def _no_device() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the client certificate names no device of this fleet", hint="join again with a new token", reason="REENROL"
    )
