import hashlib

import pytest

from orchestrator.cli.demo_tampering import tampered
from orchestrator.errors import OperationError
from orchestrator.storage.folder_blob_store import FolderBlobStore


def test_one_byte_is_other_within_the_block_and_the_same_after_it(tmp_path):
    data = bytes(range(200))
    sha256 = FolderBlobStore(tmp_path).put(data)
    with tampered(tmp_path, sha256) as path:
        changed = path.read_bytes()
        assert sum(a != b for a, b in zip(data, changed, strict=True)) == 1
    assert path.read_bytes() == data


def test_the_byte_is_put_back_when_something_goes_wrong(tmp_path):
    sha256 = FolderBlobStore(tmp_path).put(b"artifact")
    with pytest.raises(RuntimeError), tampered(tmp_path, sha256) as path:
        raise RuntimeError
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def test_an_artifact_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OperationError, match="abcd"), tampered(tmp_path, "abcd"):
        pass
