import base64
import hashlib
import ipaddress
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from orchestrator.errors import InvalidInputError, OperationError, UnauthenticatedError
from orchestrator.fleet.authority import Authority
from orchestrator.fleet.certificates import (
    certificate_addresses,
    key_fingerprint,
    make_key,
    read_device_identity,
    read_signing_request,
)
from tests.fakes.scripted_device import signing_request
from tests.orchestrator.storage.records import NOW

DEVICE_ID = "0b6f5f1e-6a4d-4f5e-9d3a-0123456789ab"


def _authority(folder: Path, *addresses: str, later: timedelta = timedelta(0)) -> Authority:
    return Authority(folder, addresses=addresses, now=NOW + later)


def _leaf(authority: Authority, later: timedelta = timedelta(0)) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.server_certificate(NOW + later).chain_pem)


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    first, second = _authority(tmp_path), _authority(tmp_path)
    assert first.ca_hash() == second.ca_hash()
    assert first.server_certificate(NOW) == second.server_certificate(NOW)


def test_the_hash_is_over_the_der_of_the_certificate(tmp_path: Path) -> None:
    authority = _authority(tmp_path)
    der = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()).public_bytes(serialization.Encoding.DER)
    assert authority.ca_hash() == f"sha256:{hashlib.sha256(der).hexdigest()}"


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    _authority(tmp_path / "authority")
    for name in ("ca-key.pem", "server-key.pem"):
        assert stat.S_IMODE((tmp_path / "authority" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "authority").stat().st_mode) == 0o700


def test_the_server_is_good_for_its_addresses_and_for_nothing_else(tmp_path: Path) -> None:
    certificate = _leaf(_authority(tmp_path, "fleet.example.org", "192.168.1.5"))
    addresses = certificate_addresses(certificate)
    assert {
        "orchestrator.fleetfit.internal", "localhost", "127.0.0.1", "::1", "fleet.example.org", "192.168.1.5",
    } <= addresses  # fmt: skip
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("192.168.1.5") in names.get_values_for_type(x509.IPAddress)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_the_chain_that_is_shown_leads_to_the_authority(tmp_path: Path) -> None:
    authority = _authority(tmp_path)
    leaf, ca = x509.load_pem_x509_certificates(authority.server_certificate(NOW).chain_pem)
    leaf.verify_directly_issued_by(ca)
    assert ca.public_bytes(serialization.Encoding.PEM) == authority.certificate_pem
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)


@pytest.mark.parametrize(("days", "issued_anew"), [(0, False), (200, False), (250, True), (364, True)])
def test_the_servers_certificate_is_issued_anew_when_it_is_due(tmp_path: Path, days: int, issued_anew: bool) -> None:
    running = _authority(tmp_path)
    before, hash_before = _leaf(running), running.ca_hash()
    later = timedelta(days=days)
    # While it runs, and at the next start.
    for authority in (running, _authority(tmp_path, later=later)):
        after = _leaf(authority, later)
        assert (after != before) is issued_anew
        assert after.not_valid_after_utc - (NOW + later) > timedelta(days=100)
        assert authority.ca_hash() == hash_before


def test_the_servers_certificate_is_issued_anew_when_the_addresses_change(tmp_path: Path) -> None:
    before = _leaf(_authority(tmp_path))
    after = _leaf(_authority(tmp_path, "fleet.example.org"))
    assert "fleet.example.org" in certificate_addresses(after) - certificate_addresses(before)


@pytest.mark.parametrize("damage", ["server.pem", "server-key.pem"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_damaged_server_certificate_is_replaced(tmp_path: Path, damage: str, content: bytes | None) -> None:
    before = _authority(tmp_path)
    path = tmp_path / damage
    path.unlink() if content is None else path.write_bytes(content)
    after = _authority(tmp_path)
    assert after.ca_hash() == before.ca_hash()
    assert _leaf(after) != _leaf(before)


def test_a_key_of_another_certificate_is_replaced_with_it(tmp_path: Path) -> None:
    _authority(tmp_path / "one")
    _authority(tmp_path / "other")
    (tmp_path / "one" / "server-key.pem").write_bytes((tmp_path / "other" / "server-key.pem").read_bytes())
    shown = _authority(tmp_path / "one").server_certificate(NOW)
    key = serialization.load_pem_private_key(shown.key_pem, password=None)
    assert key.public_key() == x509.load_pem_x509_certificate(shown.chain_pem).public_key()


def test_a_first_start_that_was_cut_short_is_made_up_for(tmp_path: Path) -> None:
    _authority(tmp_path)
    (tmp_path / "ca.pem").unlink()
    hash_now = _authority(tmp_path).ca_hash()
    assert _authority(tmp_path).ca_hash() == hash_now


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_an_authority_without_its_key_is_not_replaced_silently(tmp_path: Path, content: bytes | None) -> None:
    _authority(tmp_path)
    key = tmp_path / "ca-key.pem"
    key.unlink() if content is None else key.write_bytes(content)
    with pytest.raises(OperationError) as caught:
        _authority(tmp_path)
    assert caught.value.reason == "AUTHORITY_BROKEN"
    assert "backup" in caught.value.hint


def test_a_key_of_another_authority_is_noticed(tmp_path: Path) -> None:
    _authority(tmp_path / "one")
    _authority(tmp_path / "other")
    (tmp_path / "one" / "ca-key.pem").write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    with pytest.raises(OperationError, match="do not belong together"):
        _authority(tmp_path / "one")


@pytest.mark.parametrize("address", ["", "a b", "-x.org", "https://x.org", "x.org:7443", "x" * 64, "a" * 300, "*.org"])
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidInputError):
        _authority(tmp_path, address)


def test_a_device_is_who_its_certificate_names_for_thirty_days(tmp_path: Path) -> None:
    authority, key = _authority(tmp_path), make_key()
    issued = authority.issue_device_certificate(key=key.public_key(), device_id=DEVICE_ID, now=NOW)
    identity = read_device_identity(issued.pem)
    assert identity.device_id == DEVICE_ID
    assert identity.key_fingerprint == key_fingerprint(key.public_key())
    assert identity.expires_at == issued.expires_at
    assert timedelta(days=29) < issued.expires_at - NOW <= timedelta(days=30)


def test_a_certificate_without_a_device_makes_none(tmp_path: Path) -> None:
    authority = _authority(tmp_path)
    for pem in (b"", b"garbage", authority.certificate_pem, authority.server_certificate(NOW).chain_pem):
        with pytest.raises(UnauthenticatedError) as caught:
            read_device_identity(pem)
        assert caught.value.reason == "REENROL"


@pytest.mark.parametrize("device_id", ["", "../x", "0B6F5F1E-6A4D-4F5E-9D3A-0123456789AB", DEVICE_ID + "/admin"])
def test_a_name_in_a_certificate_that_is_no_device_id_makes_none(tmp_path: Path, device_id: str) -> None:
    authority = _authority(tmp_path)
    pem = authority.issue_device_certificate(key=make_key().public_key(), device_id=device_id, now=NOW).pem
    with pytest.raises(UnauthenticatedError):
        read_device_identity(pem)


def test_a_signing_request_proves_its_key() -> None:
    key = make_key()
    assert read_signing_request(signing_request(key)) == key.public_key()


@pytest.mark.parametrize("bit", [1, 128])
def test_a_signing_request_with_one_bit_changed_anywhere_proves_no_other_key(bit: int) -> None:
    key = make_key()
    good = x509.load_pem_x509_csr(signing_request(key)).public_bytes(serialization.Encoding.DER)
    armour = b"CERTIFICATE REQUEST-----"
    refused = 0
    for position in range(len(good)):
        changed = good[:position] + bytes([good[position] ^ bit]) + good[position + 1 :]
        pem = b"-----BEGIN " + armour + b"\n" + base64.encodebytes(changed) + b"-----END " + armour + b"\n"
        try:
            # A bit of the encoding that says nothing may change.
            assert read_signing_request(pem) == key.public_key()
        except InvalidInputError:
            refused += 1
    assert refused >= len(good) - 2


@pytest.mark.parametrize("pem", [b"", b"garbage", b"-----BEGIN CERTIFICATE REQUEST-----\n", b"x" * 10_000])
def test_what_is_no_signing_request_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_signing_request(pem)
    assert caught.value.reason == "SIGNING_REQUEST_INVALID"
