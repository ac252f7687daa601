import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.releases.manifest import Manifest, parse_manifest
from tests.fakes.release_server import ReleaseServer


@pytest.fixture
def data(tmp_path):
    return ReleaseServer(tmp_path).manifest(version="1.0", counter=7)


def test_equal_manifests_have_equal_bytes(tmp_path, data):
    assert ReleaseServer(tmp_path).manifest(version="1.0", counter=7) == data


def test_the_bytes_are_canonical(data):
    document = json.loads(data)
    assert data == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert document["schema"] == 1


def test_a_manifest_survives_the_way_there_and_back(data):
    assert parse_manifest(data).canonical_json() == data


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("schema", "1"),
        ("counter", 0),
        ("counter", "7"),
        ("counter", True),
        ("version", "a/b"),
        ("version", "1..2"),
        ("version", ""),
        ("name", "Digits"),
        ("name", ""),
        ("golden", None),
        ("extra", 1),
        ("file", {"path": "../model.onnx", "size_bytes": 1, "sha256": "a" * 64, "format": "onnx"}),
        ("file", {"path": "model.onnx", "size_bytes": 0, "sha256": "a" * 64, "format": "onnx"}),
        ("file", {"path": "model.onnx", "size_bytes": 1, "sha256": "A" * 64, "format": "onnx"}),
        ("golden", {"sha256": "a" * 64, "size_bytes": 1, "tolerance": 2.0}),
        ("metrics", [{"name": "accuracy", "value": "high"}]),
    ],
)
def test_a_manifest_with_a_part_that_is_wrong_is_refused(data, key, value):
    with pytest.raises(InvalidInputError):
        parse_manifest(json.dumps(json.loads(data) | {key: value}).encode())


@given(st.binary(max_size=100))
def test_random_bytes_are_refused_and_never_crash(data):
    with pytest.raises(InvalidInputError):
        parse_manifest(data)


def test_a_manifest_that_no_device_would_take_is_not_made(data):
    large = parse_manifest(data).model_copy(update={"name": "n" * 70_000})
    assert isinstance(large, Manifest)
    with pytest.raises(InvalidInputError, match="devices accept"):
        large.canonical_json()
