"""The table of blob stores: which address opens which store, and what cannot be opened."""

import importlib.metadata
import socket
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInputError, UnavailableError
from orchestrator.storage import blob_stores
from orchestrator.storage.blob_stores import ENTRY_POINT_GROUP, open_blob_store
from orchestrator.storage.folder_blob_store import FolderBlobStore
from orchestrator.storage.object_blob_store import ObjectBlobStore


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_folder_is_opened_by_path_and_by_address(tmp_path: Path, prefix: str) -> None:
    blobs = open_blob_store(f"{prefix}{tmp_path}/blobs")
    assert isinstance(blobs, FolderBlobStore)
    assert blobs.place == f"{tmp_path}/blobs"


def test_a_path_object_is_a_folder_whatever_it_holds(tmp_path: Path) -> None:
    assert open_blob_store(tmp_path / "with space").place == f"{tmp_path}/with space"


def test_memory_is_opened_empty_each_time() -> None:
    open_blob_store("memory://").put(b"bytes")
    assert list(open_blob_store("memory://").list()) == []


def test_an_unknown_scheme_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidInputError, match="ftp://") as refusal:
        open_blob_store("ftp://host/folder")
    assert "file, memory, s3" in refusal.value.hint


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix"])
def test_an_address_without_a_bucket_is_refused(address: str) -> None:
    with pytest.raises(InvalidInputError, match="not the address of a blob store"):
        open_blob_store(address)


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(UnavailableError, match="s3://bucket/prefix cannot be reached"):
        open_blob_store("s3://bucket/prefix")


def test_a_third_party_adds_a_scheme_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_theirs(url: str) -> ObjectBlobStore:
        opened.append(url)
        return ObjectBlobStore.open("memory://")

    theirs = importlib.metadata.EntryPoint(name="theirs", value="anything", group=ENTRY_POINT_GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda _: open_theirs)
    monkeypatch.setattr(
        blob_stores,
        "entry_points",
        lambda *, group, name: [theirs] if (group, name) == (theirs.group, "theirs") else [],
    )
    assert open_blob_store("theirs://somewhere").read is not None
    assert opened == ["theirs://somewhere"]
