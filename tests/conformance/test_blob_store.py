"""What every blob store must do, wherever it keeps its bytes."""

import hashlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError, NotFoundError
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.blob_stores import open_blob_store

_names = itertools.count(1)

ABSENT = "0" * 64


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        pytest.skip("nothing to stand in for S3: pip install 'fleetfit[s3-test]'")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **secrets).create_bucket(Bucket="fleetfit-test")
    yield endpoint
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store."""
    if request.param == "folder":
        return str(tmp_path / "blobs")
    if request.param == "memory":
        return "memory://"
    environment = {
        "AWS_ENDPOINT_URL": request.getfixturevalue("s3_endpoint"),
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://fleetfit-test/prefix-{next(_names)}"


@pytest.fixture
def blobs(place: str) -> BlobStore:
    return open_blob_store(place)


def test_bytes_are_named_by_their_hash_and_come_back(blobs: BlobStore) -> None:
    name = blobs.put(b"some bytes")
    assert name == hashlib.sha256(b"some bytes").hexdigest()
    assert blobs.has(name)
    assert blobs.size(name) == 10
    assert blobs.read(name) == b"some bytes"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000), offset=st.integers(0, 2000), chunk_bytes=st.integers(1, 700))
def test_any_bytes_can_be_read_from_any_offset_in_pieces_of_any_size(
    blobs: BlobStore, data: bytes, offset: int, chunk_bytes: int
) -> None:
    name = blobs.put(data)
    offset = min(offset, len(data))
    pieces = list(blobs.stream(name, offset=offset, chunk_bytes=chunk_bytes))
    assert b"".join(pieces) == data[offset:]
    assert all(0 < len(piece) <= chunk_bytes for piece in pieces)


def test_a_blob_larger_than_any_buffer_comes_back(blobs: BlobStore) -> None:
    data = bytes(range(256)) * 4 * 1024 * 12
    name = blobs.put(data)
    assert blobs.read(name) == data
    assert b"".join(blobs.stream(name, offset=1_000_001)) == data[1_000_001:]


def test_no_bytes_are_a_blob_too(blobs: BlobStore) -> None:
    name = blobs.put(b"")
    assert blobs.size(name) == 0
    assert blobs.read(name) == b""
    assert list(blobs.stream(name)) == []


def test_storing_the_same_bytes_again_changes_nothing(blobs: BlobStore) -> None:
    assert blobs.put(b"bytes") == blobs.put(b"bytes")
    assert list(blobs.list()) == [hashlib.sha256(b"bytes").hexdigest()]


def test_many_writers_of_the_same_bytes_agree(blobs: BlobStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = set(threads.map(blobs.put, [b"the same bytes" * 1000] * 16))
    assert list(blobs.list()) == list(names)
    assert blobs.read(names.pop()) == b"the same bytes" * 1000


def test_every_blob_is_listed(blobs: BlobStore) -> None:
    assert list(blobs.list()) == []
    names = {blobs.put(str(number).encode()) for number in range(30)}
    assert set(blobs.list()) == names


def test_a_deleted_blob_is_gone_and_may_be_deleted_again(blobs: BlobStore) -> None:
    kept, gone = blobs.put(b"kept"), blobs.put(b"gone")
    blobs.delete(gone)
    blobs.delete(gone)
    assert not blobs.has(gone)
    assert list(blobs.list()) == [kept]
    assert blobs.put(b"gone") == gone
    assert blobs.read(gone) == b"gone"


def test_an_absent_blob_is_said_to_be_absent(blobs: BlobStore) -> None:
    assert not blobs.has(ABSENT)
    for look in (blobs.size, blobs.read, blobs.stream):
        with pytest.raises(NotFoundError, match=ABSENT):
            look(ABSENT)


@pytest.mark.parametrize("offset", [-1, 6])
def test_an_offset_outside_the_blob_is_refused(blobs: BlobStore, offset: int) -> None:
    name = blobs.put(b"bytes")
    with pytest.raises(InvalidInputError, match=f"offset {offset}"):
        blobs.stream(name, offset=offset)


@pytest.mark.parametrize(
    "name", ["", "abc", "../" * 20 + "a" * 4, "A" * 64, "a" * 65, "a" * 63 + "\n", "a" * 64 + "\n", "\u0660" * 64]
)
def test_only_a_hash_may_become_a_path(blobs: BlobStore, name: str) -> None:
    looks: list[Callable[[str], Any]] = [blobs.has, blobs.size, blobs.read, blobs.stream, blobs.delete]
    for look in looks:
        with pytest.raises(InvalidInputError, match="not a SHA-256"):
            look(name)


def test_what_was_stored_is_there_for_the_next_process(place: str) -> None:
    if place == "memory://":
        pytest.skip("memory ends with the process")
    name = open_blob_store(place).put(b"bytes")
    assert open_blob_store(place).read(name) == b"bytes"
