"""The folder: durable, whole or absent, and honest about damage."""

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import OperationError
from orchestrator.storage.folder_blob_store import FolderBlobStore
from tests.orchestrator.storage.small_disk import small_disk

MEBIBYTE = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_folder_is_made(folder: Path) -> None:
    name = FolderBlobStore(folder / "deep" / "er").put(b"bytes")
    assert files(folder) == [folder / "deep" / "er" / name[:2] / name]


@pytest.mark.parametrize("damage", [b"", b"byt", b"Bytes", b"bytes and more"])
def test_damaged_bytes_are_detected_and_repaired_by_storing_them_again(folder: Path, damage: bytes) -> None:
    blobs = FolderBlobStore(folder)
    name = blobs.put(b"bytes")
    (folder / name[:2] / name).write_bytes(damage)
    with pytest.raises(OperationError, match=name) as refusal:
        blobs.read(name)
    assert refusal.value.reason == "BLOB_DAMAGED"
    blobs.put(b"bytes")
    assert blobs.read(name) == b"bytes"


def test_each_step_is_made_durable_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FolderBlobStore(folder)
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        steps.append(f"sync {kind}")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    blobs.put(b"bytes")
    assert steps == ["sync file", "rename", "sync folder", "sync folder"]
    # The second time nothing is written, but another writer may not yet have made it durable.
    steps.clear()
    blobs.put(b"bytes")
    assert steps == ["sync file", "sync folder", "sync folder"]


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "tight", size_bytes=MEBIBYTE) as mounted:
        yield mounted


def test_a_full_disk_is_named_and_left_as_it_was(tight: Path) -> None:
    blobs = FolderBlobStore(tight / "blobs")
    kept = blobs.put(b"kept")
    with pytest.raises(OperationError, match=str(tight)) as refusal:
        blobs.put(os.urandom(2 * MEBIBYTE))
    assert refusal.value.reason == "DISK_FULL"
    assert "free some space" in refusal.value.hint
    assert [path.name for path in files(tight)] == [kept]
    assert blobs.read(blobs.put(b"fits again")) == b"fits again"


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_at_any_call_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    blobs = FolderBlobStore(folder)

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(OperationError) as refusal:
            blobs.put(b"bytes")
    assert refusal.value.reason == "DISK_FULL"
    assert files(folder) == []


def test_a_blob_that_cannot_be_read_is_named(folder: Path) -> None:
    blobs = FolderBlobStore(folder)
    name = blobs.put(b"bytes")
    (folder / name[:2] / name).unlink()
    (folder / name[:2] / name).mkdir()
    with pytest.raises(OperationError, match="cannot read"):
        blobs.read(name)


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OperationError, match="cannot open"):
        FolderBlobStore(tmp_path / "file" / "blobs")


def test_what_a_killed_process_left_is_removed_when_nobody_can_be_writing_it(folder: Path) -> None:
    FolderBlobStore(folder)
    old, fresh = folder / "incoming" / "old", folder / "incoming" / "fresh"
    old.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(old, (0, 0))
    FolderBlobStore(folder)
    assert files(folder) == [fresh]


_WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from orchestrator.storage.folder_blob_store import FolderBlobStore

    blobs = FolderBlobStore(Path(sys.argv[1]))
    for number in range(int(sys.argv[2]), 1_000_000):
        print(blobs.put(str(number).encode() * 20_000), flush=True)
""")


def test_a_killed_writer_leaves_every_blob_it_reported_and_no_half_one(folder: Path) -> None:
    reported: list[str] = []
    for kill_after in (1, 7, 23):
        command = [sys.executable, "-c", _WRITER, str(folder), str(len(reported) * 1000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(kill_after):
                reported.append(writer.stdout.readline().strip())
            writer.send_signal(signal.SIGKILL)
            reported += writer.stdout.read().split("\n")[:-1]
    blobs = FolderBlobStore(folder)
    assert set(reported) <= set(blobs.list())
    for name in blobs.list():
        blobs.read(name)
