import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.errors import OperationError
from orchestrator.releases.keys import ROLES, SigningKeys


def test_each_role_gets_a_key_of_its_own_that_only_its_owner_can_read(tmp_path):
    keys = SigningKeys.load_or_create(tmp_path / "keys")
    ids = [signer.public_key.keyid for role in ROLES for signer in keys.signers(role)]
    assert len(set(ids)) == 4
    for role in ROLES:
        [signer] = keys.signers(role)
        assert signer.public_key.keytype == "ed25519"
        path = keys.holding(role) / f"{signer.public_key.keyid}.pem"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_keys_that_are_there_are_used_again(tmp_path):
    first = SigningKeys.load_or_create(tmp_path)
    again = SigningKeys.load_or_create(tmp_path)
    for role in ROLES:
        assert first.signers(role)[0].public_key == again.signers(role)[0].public_key


def test_a_start_that_was_killed_half_way_is_completed(tmp_path):
    first = SigningKeys.load_or_create(tmp_path)
    for path in (tmp_path / "timestamp").iterdir():
        path.unlink()
    again = SigningKeys.load_or_create(tmp_path)
    assert first.signers("root")[0].public_key == again.signers("root")[0].public_key
    assert len(again.signers("timestamp")) == 1


def test_loading_makes_no_keys(tmp_path):
    keys = SigningKeys.load(tmp_path / "nowhere")
    assert [keys.signers(role) for role in ROLES] == [()] * 4
    assert not (tmp_path / "nowhere").exists()


def test_a_role_may_have_several_keys_of_several_kinds(tmp_path):
    SigningKeys.load_or_create(tmp_path)
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "targets" / "second.pem").write_bytes(pem)
    signers = SigningKeys.load(tmp_path).signers("targets")
    assert sorted(signer.public_key.keytype for signer in signers) == ["ecdsa", "ed25519"]


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_named(tmp_path, content):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "mine.pem").write_bytes(content)
    with pytest.raises(OperationError, match=r"mine\.pem is not a private key"):
        SigningKeys.load(tmp_path)
