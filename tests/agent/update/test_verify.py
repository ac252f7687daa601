import asyncio
import json

import pytest

from agent.errors import IncompatibleReleaseError, SignatureRefusedError, UnreachableError
from agent.update import metadata
from agent.update.release import DesiredRelease
from agent.update.verify import ReleaseVerifier
from tests.fakes.proof_in_thread import prove_in_thread
from tests.fakes.release_server import ReleaseServer


@pytest.fixture
def server(tmp_path):
    return ReleaseServer(tmp_path / "server")


@pytest.fixture
def trust_dir(server, tmp_path):
    server.trust(tmp_path / "state")
    return tmp_path / "state" / "trust"


@pytest.fixture
def prove(server, trust_dir):
    def run(desired, *, delivery=None):
        verifier = ReleaseVerifier(
            trust_dir=trust_dir, delivery=delivery or server, clock=server.clock, prove=prove_in_thread
        )
        return asyncio.run(verifier.prove(desired))

    return run


def attacker(tmp_path, server) -> ReleaseServer:
    """Someone with keys of his own and the same names."""
    return ReleaseServer(tmp_path / "attacker", clock=server.clock)


def test_a_signed_release_is_proven(server, prove):
    desired = server.release(version="1.2.0", counter=3)
    manifest, data = prove(desired)
    assert (manifest.name, manifest.version, manifest.counter) == ("digits", "1.2.0", 3)
    assert manifest.sha256 == desired.manifest_sha256
    assert manifest.sha256 in str(server.fetched[-1])
    assert json.loads(data)["version"] == "1.2.0"


def test_a_later_release_is_proven_and_what_did_not_change_is_not_fetched_again(server, prove):
    prove(server.release(version="1", counter=1))
    server.fetched.clear()
    prove(server.release(version="2", counter=2))
    assert not [path for path in server.fetched if "1.root" in path]
    server.fetched.clear()
    prove(server.release(version="2", counter=2))
    assert [path for path in server.fetched if path.startswith("metadata")] == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
    ]


def test_a_manifest_altered_on_its_way_is_refused(server, prove):
    desired = server.release()
    server.alter = lambda path, data: data.replace(b'"counter":1', b'"counter":9') if "targets/" in path else data
    with pytest.raises(SignatureRefusedError, match="tampered with"):
        prove(desired)


def test_metadata_altered_on_its_way_is_refused(server, prove):
    desired = server.release()
    server.alter = lambda path, data: data.replace(b"2026", b"2036") if path.endswith("timestamp.json") else data
    with pytest.raises(SignatureRefusedError, match="forged"):
        prove(desired)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_role_signed_with_another_key_is_refused(server, prove, tmp_path, role):
    desired = server.release()
    forger = attacker(tmp_path, server)
    forger.release(model=b"a trojan")
    server.alter = lambda path, data: forger.repository.file(path) if role in path else data
    # The snapshot's and the targets' hashes are signed as well, so those do not even fit.
    with pytest.raises(SignatureRefusedError, match="forged" if role == "timestamp" else "do not belong together"):
        prove(desired)


def test_a_whole_repository_signed_with_other_keys_is_refused(server, prove, tmp_path):
    forger = attacker(tmp_path, server)
    desired = forger.release(model=b"a trojan")
    with pytest.raises(SignatureRefusedError, match="forged"):
        prove(desired, delivery=forger)


def test_targets_forged_with_stolen_online_keys_are_refused(server, prove, tmp_path):
    # Snapshot and timestamp keys are online and may be stolen with the orchestrator; the targets key is not.
    server.release()
    thief = attacker(tmp_path, server)
    for role in ("snapshot", "timestamp"):
        for key in (tmp_path / "attacker" / "keys" / role).iterdir():
            key.unlink()
        for key in (tmp_path / "server" / "keys" / role).iterdir():
            (tmp_path / "attacker" / "keys" / role / key.name).write_bytes(key.read_bytes())
    for old in (tmp_path / "attacker" / "repository").rglob("*.json"):
        old.unlink()
    thief.__post_init__()
    thief.release(version="1", counter=1)
    desired = thief.release(version="2", counter=2, model=b"a trojan")
    with pytest.raises(SignatureRefusedError, match=r"forged.*targets was signed by 0/1"):
        prove(desired, delivery=thief)


def test_an_orchestrator_that_asks_for_another_manifest_than_was_signed_is_refused(server, prove):
    server.release()
    desired = server.desire("digits/1.json", b"another")
    with pytest.raises(SignatureRefusedError, match="asks for another"):
        prove(desired)


def test_a_release_that_was_never_signed_is_refused(server, prove):
    server.release()
    desired = server.desire("digits/2.json", server.manifest(version="2"))
    with pytest.raises(SignatureRefusedError, match=r"does not know digits/2\.json"):
        prove(desired)


@pytest.mark.parametrize(
    ("path", "sha256"),
    [
        ("../../etc/passwd", "a" * 64),
        ("/etc/passwd", "a" * 64),
        ("digits/../../x.json", "a" * 64),
        ("", "a" * 64),
        ("digits/1.json", "../" + "a" * 61),
        ("digits/1.json", "A" * 64),
        ("digits/1.json", ""),
    ],
)
def test_paths_and_hashes_that_none_can_have_are_refused_before_anything_is_fetched(server, prove, path, sha256):
    with pytest.raises(SignatureRefusedError, match="none can have"):
        prove(DesiredRelease(deployment_id="d", manifest_path=path, manifest_sha256=sha256))
    assert server.fetched == []


def test_signatures_that_have_expired_are_refused_until_there_are_new_ones(server, prove):
    desired = server.release()
    prove(desired)
    server.clock.pass_time(days=1, seconds=1)
    with pytest.raises(SignatureRefusedError, match=r"frozen.*timestamp.json is expired"):
        prove(desired)
    assert server.repository.refresh_if_due(server.clock())
    prove(desired)


def test_a_frozen_mirror_is_noticed_although_its_files_were_genuine(server, prove):
    old = server.release(version="1", counter=1)
    kept = server.repository.file("metadata/timestamp.json")
    server.release(version="2", counter=2)
    server.alter = lambda path, data: kept if path.endswith("timestamp.json") else data
    server.clock.pass_time(days=2)
    with pytest.raises(SignatureRefusedError, match="frozen"):
        prove(old)


def test_older_metadata_than_was_seen_is_refused(server, prove):
    desired = server.release(version="1", counter=1)
    kept = server.repository.file("metadata/timestamp.json")
    prove(server.release(version="2", counter=2))
    server.alter = lambda path, data: kept if path.endswith("timestamp.json") else data
    with pytest.raises(SignatureRefusedError, match="rolled back"):
        prove(desired)


def test_new_and_old_files_mixed_are_refused(server, prove):
    desired = server.release(version="1", counter=1)
    older = server.repository.file("metadata/2.targets.json")
    server.release(version="2", counter=2)
    server.alter = lambda path, data: older if path == "metadata/3.targets.json" else data
    with pytest.raises(SignatureRefusedError, match="mixed"):
        prove(desired)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_endless_data_is_cut_off(server, prove, role):
    desired = server.release()
    server.alter = lambda path, data: data + b" " * 6_000_000 if path.endswith(f"{role}.json") else data
    with pytest.raises(SignatureRefusedError, match="endless data"):
        prove(desired)


def test_a_manifest_that_is_longer_than_signed_is_refused(server, prove):
    desired = server.release()
    server.alter = lambda path, data: data + b" " if path.startswith("targets/") else data
    with pytest.raises(SignatureRefusedError, match="endless data"):
        prove(desired)


def test_a_manifest_that_is_shorter_than_signed_is_refused(server, prove):
    desired = server.release()
    server.alter = lambda path, data: data[:-1] if path.startswith("targets/") else data
    with pytest.raises(SignatureRefusedError, match="do not belong together"):
        prove(desired)


@pytest.mark.parametrize("part", ["timestamp.json", "2.snapshot.json", "2.targets.json", "targets/digits"])
def test_files_that_are_withheld_are_refused(server, prove, part):
    desired = server.release()
    server.alter = lambda path, data: None if part in path else data
    with pytest.raises(SignatureRefusedError, match="withheld"):
        prove(desired)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 10_000, b'{"signed": {"_type": "timestamp"}}'])
def test_files_that_are_no_metadata_are_refused(server, prove, data):
    desired = server.release()
    server.alter = lambda path, good: data if path.endswith("timestamp.json") else good
    with pytest.raises(SignatureRefusedError, match="malformed"):
        prove(desired)


def test_a_role_in_the_place_of_another_is_refused(server, prove):
    desired = server.release()
    server.alter = lambda path, data: (
        server.repository.file("metadata/2.snapshot.json") if path.endswith("timestamp.json") else data
    )
    with pytest.raises(SignatureRefusedError, match="inconsistent"):
        prove(desired)


def test_a_manifest_signed_under_the_path_of_another_is_refused(server, prove):
    manifest = server.manifest(version="1")
    server.repository.publish("digits/2.json", manifest, now=server.clock())
    with pytest.raises(SignatureRefusedError, match="is of digits:1"):
        prove(server.desire("digits/2.json", manifest))


def test_something_huge_signed_as_a_manifest_is_refused_before_it_is_fetched(server, prove):
    huge = b" " * 70_000
    server.repository.publish("digits/2.json", huge, now=server.clock())
    with pytest.raises(SignatureRefusedError, match="too many for a manifest"):
        prove(server.desire("digits/2.json", huge))
    assert not any(path.startswith("targets/") for path in server.fetched)


def test_a_manifest_of_a_later_schema_is_incompatible(server, prove):
    later = b'{"schema":2}'
    server.repository.publish("digits/2.json", later, now=server.clock())
    with pytest.raises(IncompatibleReleaseError, match="schema 2"):
        prove(server.desire("digits/2.json", later))


def test_an_orchestrator_that_goes_away_is_no_attack(server, prove):
    desired = server.release()
    server.reachable = False
    with pytest.raises(UnreachableError, match="away"):
        prove(desired)
    server.reachable = True
    prove(desired)


def test_a_connection_lost_at_any_file_is_no_attack_and_the_next_try_succeeds(server, prove):
    desired = server.release()
    prove(desired)
    files = len(server.fetched)
    for lost in range(files):
        desired = server.release(version=f"{lost + 2}", counter=lost + 2)
        remaining = [lost]

        def lose(path, data, remaining=remaining):
            remaining[0] -= 1
            if remaining[0] < 0:
                raise UnreachableError("lost")
            return data

        server.alter = lose
        with pytest.raises(UnreachableError):
            prove(desired)
        server.alter = lambda path, data: data
        prove(desired)


def test_without_a_root_of_trust_nothing_is_proven(server, prove, trust_dir):
    desired = server.release()
    (trust_dir / "root.json").unlink()
    with pytest.raises(SignatureRefusedError, match="no root of trust"):
        prove(desired)
    assert server.fetched == []


def test_with_a_damaged_root_of_trust_nothing_is_proven(server, prove, trust_dir):
    desired = server.release()
    (trust_dir / "root.json").write_bytes(b"")
    with pytest.raises(SignatureRefusedError, match="malformed"):
        prove(desired)


def test_a_root_that_was_signed_again_is_followed(server, prove):
    prove(server.release())
    server.clock.pass_time(days=320)
    assert server.repository.refresh_if_due(server.clock())
    assert server.repository.file("metadata/2.root.json")
    server.clock.pass_time(days=60)
    server.repository.refresh_if_due(server.clock())
    prove(server.release(version="2", counter=2))


def test_a_root_signed_by_a_stranger_is_not_followed(server, prove, tmp_path):
    prove(server.release())
    forger = attacker(tmp_path, server)
    server.clock.pass_time(days=320)
    server.repository.refresh_if_due(server.clock())
    forger.repository.refresh_if_due(server.clock())
    server.alter = lambda path, data: forger.repository.file(path) if "2.root" in path else data
    with pytest.raises(SignatureRefusedError, match="forged"):
        prove(server.release(version="2", counter=2))


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:40], lambda data: b"garbage" * 20, None])
@pytest.mark.parametrize(
    "name", ["root.json", "timestamp.json", "snapshot.json", "targets.json", "root_history/1.root.json"]
)
def test_damaged_local_metadata_is_replaced(server, prove, trust_dir, name, damage):
    prove(server.release(version="1", counter=1))
    path = trust_dir / "tuf" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    prove(server.release(version="2", counter=2))
    prove(server.release(version="3", counter=3))


def test_everything_that_is_remembered_is_written_durably(server, prove, monkeypatch):
    written = []
    real = metadata.write_durably
    monkeypatch.setattr(metadata, "write_durably", lambda path, data: (written.append(path.name), real(path, data)))
    prove(server.release())
    assert sorted(set(written)) == ["1.root.json", "snapshot.json", "targets.json", "timestamp.json"]
