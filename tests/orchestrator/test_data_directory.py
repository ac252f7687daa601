import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config import Layout
from orchestrator.data_directory import DataDirectory, Endpoints, read_endpoints
from orchestrator.durable_file import write_durably
from orchestrator.errors import ConflictError, OperationError

ENDPOINTS = Endpoints(
    public_address="127.0.0.1:7443", device_address="127.0.0.1:7444", ca_path="/data/authority/ca.pem", pid=os.getpid()
)


def test_a_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    layout = Layout(root=tmp_path / "deep" / "data")
    with DataDirectory(layout):
        assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700


def test_a_directory_in_use_is_refused_with_the_process_that_uses_it(tmp_path: Path) -> None:
    layout = Layout(root=tmp_path)
    with DataDirectory(layout):
        with pytest.raises(ConflictError, match=f"process {os.getpid()}, uses") as caught, DataDirectory(layout):
            pytest.fail("claimed twice")
        assert (caught.value.reason, caught.value.exit_code) == ("DATA_DIRECTORY_IN_USE", 7)
    with DataDirectory(layout):
        pass


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from orchestrator.config import Layout\n"
        "from orchestrator.data_directory import DataDirectory\n"
        "with DataDirectory(Layout(root=pathlib.Path(sys.argv[1]))):\n"
        "    print('claimed', flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "claimed\n"
        with pytest.raises(ConflictError, match=f"process {holder.pid}, "), DataDirectory(Layout(root=tmp_path)):
            pytest.fail("claimed twice")
    finally:
        holder.kill()
        holder.communicate()
    with DataDirectory(Layout(root=tmp_path)):
        pass


def test_a_directory_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationError, match="cannot use the data directory") as caught:
        DataDirectory(Layout(root=tmp_path / "file" / "data")).__enter__()
    assert "--data-dir" in caught.value.hint


def test_an_announcement_can_be_read_while_the_claim_lasts(tmp_path: Path) -> None:
    layout = Layout(root=tmp_path)
    assert read_endpoints(layout) is None
    with DataDirectory(layout) as directory:
        directory.announce(ENDPOINTS)
        assert read_endpoints(layout) == ENDPOINTS
        assert json.loads(layout.endpoint.read_text())["public_address"] == "127.0.0.1:7443"
    assert not layout.endpoint.exists()
    assert read_endpoints(layout) is None


def test_what_a_killed_process_announced_does_not_count(tmp_path: Path) -> None:
    layout = Layout(root=tmp_path)
    with DataDirectory(layout) as directory:
        directory.announce(ENDPOINTS)
        left_behind = layout.endpoint.read_bytes()
    layout.endpoint.write_bytes(left_behind)
    assert read_endpoints(layout) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"pid": 1}', b"\xff"])
def test_an_announcement_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    layout = Layout(root=tmp_path)
    with DataDirectory(layout):
        layout.endpoint.write_bytes(content)
        assert read_endpoints(layout) is None


def test_a_file_has_its_content_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content in (b"old", b"new"):
        write_durably(path, content, mode=0o600)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OperationError, match="No space left on device"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
