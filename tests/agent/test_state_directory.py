"""Files that survive power cuts, the lock, and the identity that lies in them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from agent.address import Address
from agent.config import default_state_dir
from agent.durable_file import write_durably
from agent.errors import BusyError, ConfigurationError, NoSpaceError, NotJoinedError
from agent.identity import Identity, forget_identity, load_credentials, load_identity, store_identity
from agent.state_directory import StateDirectory

IDENTITY = Identity(
    device_id="d1", name="pi", public_address=Address("::1", 1), device_address=Address("::1", 2),
    joined_at=datetime(2026, 11, 1, tzinfo=timezone.utc),
    certificate_issued_at=datetime(2026, 11, 1, tzinfo=timezone.utc),
    certificate_expires_at=datetime(2026, 12, 1, tzinfo=timezone.utc),
)  # fmt: skip


def joined(folder: Path) -> StateDirectory:
    state = StateDirectory(folder)
    state.create()
    write_durably(state.key, b"key")
    store_identity(state, IDENTITY, certificate=b"certificate", authority=b"authority", trust_root=b"{}")
    return state


def test_a_file_is_replaced_as_a_whole_and_synced_with_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        steps.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_durably(tmp_path / "file", b"new", mode=0o600)
    assert steps == ["file", "rename", "directory"]
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EROFS, ConfigurationError)],
)
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=os.strerror(number)):
        write_durably(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_leftover_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_bytes(b"half")
    write_durably(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_an_identity_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = joined(tmp_path)
    assert load_identity(state) == IDENTITY
    credentials = load_credentials(state)
    assert (credentials.key, credentials.certificate, credentials.authority) == (b"key", b"certificate", b"authority")
    assert "key" not in repr(credentials).lower().replace("<agent.identity.credentials object", "")


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a crash interrupts, a device that has a record has everything."""
    order: list[str] = []
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        order.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    joined(tmp_path)
    assert order[-1] == "identity.json"
    assert set(order) == {"key.pem", "cert.pem", "ca.pem", "root.json", "identity.json"}


def test_a_machine_without_an_identity_has_not_joined(tmp_path: Path) -> None:
    with pytest.raises(NotJoinedError, match="has not joined"):
        load_identity(StateDirectory(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"device_id": 1, "name": 2}', b"\xff"])
def test_a_damaged_identity_is_named(tmp_path: Path, content: bytes) -> None:
    state = joined(tmp_path)
    state.identity_record.write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged") as caught:
        load_identity(state)
    assert "leave" in caught.value.hint


def test_leaving_removes_what_is_secret_and_keeps_what_is_served(tmp_path: Path) -> None:
    state = joined(tmp_path)
    for name in ("state.db", "state.db-wal", "updates.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "slots" / "abc").mkdir(parents=True)
    (tmp_path / "current").symlink_to("slots/abc")

    forget_identity(state)
    forget_identity(state)

    assert {path.name for path in tmp_path.iterdir()} == {"identity", "slots", "current"}
    assert list(state.identity.iterdir()) == []
    with pytest.raises(NotJoinedError):
        load_identity(state)


def test_a_second_agent_is_kept_out_and_told_who_is_in(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert not state.held()
    with state.hold():
        assert state.held()
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), StateDirectory(tmp_path).hold(patience_s=0):
            pass
    assert not state.held()
    with state.hold(patience_s=0):
        pass


def test_the_lock_of_a_killed_agent_is_free(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from agent.state_directory import StateDirectory\n"
        "with StateDirectory(Path(sys.argv[1])).hold():\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert StateDirectory(tmp_path).held()
        process.kill()
        process.wait()
    with StateDirectory(tmp_path).hold(patience_s=0):
        pass


def test_a_state_directory_that_cannot_be_made_is_an_error_of_the_agent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file"), StateDirectory(tmp_path / "file" / "state").hold():
        pass


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FLEETFIT_AGENT_STATE_DIR": "/a", "STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c"}, "/a"),
        ({"STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c"}, "/b"),
        ({"XDG_STATE_HOME": "/c"}, "/c/fleetfit-agent"),
        ({"XDG_STATE_HOME": "relative"}, str(Path.home() / ".local/state/fleetfit-agent")),
        ({}, str(Path.home() / ".local/state/fleetfit-agent")),
    ],
)
def test_where_the_state_lies(environment: dict[str, str], expected: str) -> None:
    assert str(default_state_dir(environment)) == expected
