import hashlib
import itertools
import os
import shutil
import signal
from datetime import timedelta

import pytest
from tuf.api.metadata import Metadata

from agent.update.metadata import prove
from agent.update.proof import ProofRequest
from orchestrator import durable_file
from orchestrator.errors import ConflictError, NotFoundError, OperationError
from orchestrator.releases.repository import LIFETIME, ReleaseRepository
from tests.fakes.release_server import NOON


@pytest.fixture
def open_repository(tmp_path):
    def opened(now=NOON, folder=tmp_path):
        return ReleaseRepository.open(folder / "repository", keys_directory=folder / "keys", now=now)

    return opened


@pytest.fixture
def repository(open_repository):
    return open_repository()


def served(repository, path):
    try:
        return repository.file(path)
    except NotFoundError:
        return None


def proves(repository, path, data, *, directory, now=NOON, trust_root=None) -> bool:
    """Whether a device that joined now would accept the data, by the agent's own verifier."""
    directory.mkdir(exist_ok=True)
    (directory / "trusted.json").write_bytes(trust_root or repository.trust_root())
    request = ProofRequest(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        trust_root=directory / "trusted.json",
        directory=directory,
        now=now,
    )
    proven = prove(request, lambda wanted: served(repository, wanted))
    return proven == data


def test_what_is_published_is_proven_to_a_device(repository, tmp_path):
    repository.publish("digits/1.json", b"one", now=NOON)
    repository.publish("digits/2.json", b"two", now=NOON)
    assert proves(repository, "digits/1.json", b"one", directory=tmp_path / "device")
    assert proves(repository, "digits/2.json", b"two", directory=tmp_path / "device")


def test_the_layout_is_that_of_static_files_with_consistent_snapshots(repository, tmp_path):
    repository.publish("digits/1.json", b"one", now=NOON)
    files = {str(path.relative_to(tmp_path / "repository")) for path in (tmp_path / "repository").rglob("*.json")}
    assert files == {
        "metadata/1.root.json",
        "metadata/1.targets.json",
        "metadata/2.targets.json",
        "metadata/1.snapshot.json",
        "metadata/2.snapshot.json",
        "metadata/timestamp.json",
        f"targets/digits/{hashlib.sha256(b'one').hexdigest()}.1.json",
    }


def test_there_are_no_delegations_and_a_threshold_for_every_role(repository):
    root = Metadata.from_bytes(repository.trust_root()).signed
    assert root.consistent_snapshot is True
    assert {name: (len(role.keyids), role.threshold) for name, role in root.roles.items()} == {
        name: (1, 1) for name in ("root", "targets", "snapshot", "timestamp")
    }
    assert Metadata.from_bytes(repository.file("metadata/1.targets.json")).signed.delegations is None


def test_every_role_expires_when_the_design_says(repository):
    for path, role in (
        ("1.root.json", "root"),
        ("1.targets.json", "targets"),
        ("1.snapshot.json", "snapshot"),
        ("timestamp.json", "timestamp"),
    ):
        assert Metadata.from_bytes(repository.file(f"metadata/{path}")).signed.expires == NOON + LIFETIME[role]
    assert [LIFETIME[role].days for role in ("timestamp", "snapshot", "targets", "root")] == [1, 7, 90, 365]


def test_the_same_again_changes_nothing(repository):
    repository.publish("digits/1.json", b"one", now=NOON)
    before = repository.file("metadata/timestamp.json")
    repository.publish("digits/1.json", b"one", now=NOON)
    assert repository.file("metadata/timestamp.json") == before


def test_what_was_published_never_changes(repository):
    repository.publish("digits/1.json", b"one", now=NOON)
    with pytest.raises(ConflictError, match="other content"):
        repository.publish("digits/1.json", b"another", now=NOON)


@pytest.mark.parametrize("path", ["../x.json", "digits/../x.json", "/digits/1.json", "digits/1", "digits/a/b.json", ""])
def test_nothing_can_be_published_outside_of_the_tree(repository, path):
    with pytest.raises(ValueError, match="not the path of a manifest"):
        repository.publish(path, b"x", now=NOON)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "metadata",
        "metadata/",
        "metadata/../../keys/root/key.pem",
        "../keys/root",
        "/etc/passwd",
        "metadata/1.root.json/",
        "metadata//timestamp.json",
        "metadata/root.json",
        "metadata/0.root.json",
        "metadata/01.root.json",
        "metadata/1.timestamp.json",
        "metadata/99.targets.json",
        "metadata/1.other.json",
        "metadata/.timestamp.json.abc",
        "metadata/timestamp.json\n",
        "metadata/timestamp.json\x00",
        "targets/digits/1.json",
        "targets/../metadata/timestamp.json",
        f"targets/digits/{'a' * 64}.1.json",
        f"targets/../{'a' * 64}.1.json",
        "keys/root/key.pem",
        "repository/metadata/timestamp.json",
    ],
)
def test_only_files_of_the_repository_are_served(repository, path):
    with pytest.raises(NotFoundError):
        repository.file(path)


def test_a_restart_finds_what_was_published(repository, open_repository, tmp_path):
    repository.publish("digits/1.json", b"one", now=NOON)
    again = open_repository()
    assert again.trust_root() == repository.trust_root()
    again.publish("digits/2.json", b"two", now=NOON)
    for version, data in (("1", b"one"), ("2", b"two")):
        assert proves(again, f"digits/{version}.json", data, directory=tmp_path / "device")


def test_signatures_that_are_fresh_are_left_alone(repository):
    before = repository.file("metadata/timestamp.json")
    assert not repository.refresh_if_due(NOON + timedelta(hours=11))
    assert repository.file("metadata/timestamp.json") == before


@pytest.mark.parametrize(
    ("days", "renewed"),
    [
        (0.5, set()),
        (4.0, {"2.snapshot.json"}),
        (61.0, {"2.snapshot.json", "2.targets.json"}),
        (306.0, {"2.snapshot.json", "2.targets.json", "2.root.json"}),
    ],
)
def test_what_expires_soon_is_signed_again_and_what_depends_on_it(repository, tmp_path, days, renewed):
    repository.publish("digits/1.json", b"one", now=NOON)
    metadata = tmp_path / "repository" / "metadata"
    before = {path.name for path in metadata.iterdir()}
    later = NOON + timedelta(days=days)
    assert repository.refresh_if_due(later)
    new = {path.name for path in metadata.iterdir()} - before
    assert {name.replace("3.", "2.") for name in new} == renewed
    assert proves(repository, "digits/1.json", b"one", directory=tmp_path / "device", now=later)
    assert not repository.refresh_if_due(later)


def test_a_repository_that_is_looked_after_never_expires(repository, tmp_path):
    repository.publish("digits/1.json", b"one", now=NOON)
    trust_root, now = repository.trust_root(), NOON
    for step in range(100):
        now += timedelta(hours=11 if step % 3 else 170)
        repository.refresh_if_due(now)
        assert proves(
            repository, "digits/1.json", b"one", directory=tmp_path / "device", now=now, trust_root=trust_root
        )


def test_without_its_keys_a_repository_is_read_and_not_signed_anew(repository, open_repository, tmp_path):
    repository.publish("digits/1.json", b"one", now=NOON)
    shutil.rmtree(tmp_path / "keys")
    again = open_repository()
    assert again.trust_root() == repository.trust_root()
    with pytest.raises(OperationError, match="needs 1 signatures, and 0 of its keys"):
        again.publish("digits/2.json", b"two", now=NOON)
    assert not (tmp_path / "keys").exists()
    assert proves(again, "digits/1.json", b"one", directory=tmp_path / "device")


def test_a_strangers_keys_do_not_sign(repository, open_repository, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    open_repository(folder=other)
    shutil.rmtree(tmp_path / "keys")
    shutil.copytree(other / "keys", tmp_path / "keys")
    with pytest.raises(OperationError, match="needs 1 signatures"):
        open_repository().publish("digits/2.json", b"two", now=NOON)


def test_with_root_and_targets_offline_the_online_roles_are_still_renewed(
    repository, open_repository, tmp_path, caplog
):
    repository.publish("digits/1.json", b"one", now=NOON)
    for role in ("root", "targets"):
        shutil.rmtree(tmp_path / "keys" / role)
    again, now = open_repository(), NOON
    for _ in range(140):
        now += timedelta(hours=12)
        assert again.refresh_if_due(now)
    assert proves(again, "digits/1.json", b"one", directory=tmp_path / "device", now=now)
    assert "targets of the release repository expires" in caplog.text


def test_damaged_metadata_is_named_and_not_built_upon(repository, open_repository, tmp_path):
    (tmp_path / "repository" / "metadata" / "1.snapshot.json").write_bytes(b"{}")
    with pytest.raises(OperationError, match=r"1\.snapshot\.json is damaged"):
        open_repository().publish("digits/1.json", b"one", now=NOON)


def killed(work, moment) -> bool:
    """Whether a process that does the work was killed right before its ``moment``-th change to the disk."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            changes = itertools.count()

            def counted(real):
                def call(*args, **options):
                    if next(changes) == moment:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*args, **options)

                return call

            for name in ("fsync", "replace", "mkdir", "chmod"):
                setattr(os, name, counted(getattr(os, name)))
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_first_start_that_is_killed_at_any_moment_is_completed_by_the_next(open_repository, tmp_path):
    for moment in itertools.count():
        folder = tmp_path / str(moment)
        folder.mkdir()
        finished = not killed(lambda folder=folder: open_repository(folder=folder), moment)
        repository = open_repository(folder=folder)
        repository.publish("digits/1.json", b"one", now=NOON)
        assert proves(repository, "digits/1.json", b"one", directory=folder / "device")
        if finished:
            assert moment > 10
            return


def test_a_publication_that_is_killed_at_any_moment_leaves_the_state_before_or_after(
    repository, open_repository, tmp_path
):
    repository.publish("digits/1.json", b"one", now=NOON)
    for moment in itertools.count():
        folder = tmp_path / str(moment)
        for part in ("repository", "keys"):
            shutil.copytree(tmp_path / part, folder / part)
        there = open_repository(folder=folder)
        finished = not killed(lambda there=there: there.publish("digits/2.json", b"two", now=NOON), moment)
        # A device sees a consistent repository although nobody has started again yet.
        assert proves(there, "digits/1.json", b"one", directory=folder / "device")
        again = open_repository(folder=folder)
        again.publish("digits/2.json", b"two", now=NOON)
        for version, data in (("1", b"one"), ("2", b"two")):
            assert proves(again, f"digits/{version}.json", data, directory=folder / "device")
        if finished:
            assert moment > 8
            return


def test_everything_is_written_before_the_timestamp_leads_to_it(repository, monkeypatch):
    written = []
    real = durable_file.write_durably

    def record(path, data, **options):
        written.append(path.name)
        real(path, data, **options)

    monkeypatch.setattr("orchestrator.releases.repository.write_durably", record)
    repository.publish("digits/1.json", b"one", now=NOON)
    assert [name.split(".", 1)[1] for name in written] == ["1.json", "targets.json", "snapshot.json", "json"]
    assert written[-1] == "timestamp.json"
