import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import AgentError, IncompatibleReleaseError, SignatureRefusedError
from agent.update.manifest import MAXIMUM_MANIFEST_BYTES, is_target_path, parse_manifest
from orchestrator.errors import InvalidInputError
from orchestrator.releases import manifest as signed
from tests.fakes.release_server import ReleaseServer

GOOD = {
    "schema": 1,
    "name": "digits",
    "version": "1.4.0",
    "counter": 17,
    "compat": {"runtimes": ["onnxruntime"], "architectures": ["aarch64"]},
    "file": {"path": "model.onnx", "size_bytes": 998144, "sha256": "a" * 64, "format": "onnx"},
    "golden": {"sha256": "b" * 64, "size_bytes": 1024, "tolerance": 0.01},
    "metrics": [{"name": "accuracy", "value": 0.97, "anything": True}],
    "provenance": {"search": "s"},
}


def changed(path: str, value: object) -> bytes:
    document = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


def test_a_manifest_gives_what_the_device_acts_on():
    manifest = parse_manifest(json.dumps(GOOD).encode())
    assert (manifest.name, manifest.version, manifest.counter) == ("digits", "1.4.0", 17)
    assert manifest.target_path == "digits/1.4.0.json"
    assert manifest.file.size_bytes == 998144
    assert manifest.golden.tolerance == 0.01
    assert manifest.compatibility.runtimes == ("onnxruntime",)


def test_what_the_orchestrator_signs_is_what_the_device_reads(tmp_path):
    data = ReleaseServer(tmp_path).manifest(version="2.0-rc.1", counter=3)
    theirs, ours = signed.parse_manifest(data), parse_manifest(data)
    assert (ours.name, ours.version, ours.counter) == (theirs.name, theirs.version, theirs.counter)
    assert ours.target_path == theirs.target_path
    assert ours.file.sha256 == theirs.file.sha256
    assert ours.golden.tolerance == theirs.golden.tolerance


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", ...),
        ("name", "Digits"),
        ("name", "../digits"),
        ("name", "a" * 64),
        ("name", 7),
        ("version", ""),
        ("version", "1/2"),
        ("version", "1..2"),
        ("version", "v" * 65),
        ("version", "1\n"),
        ("counter", 0),
        ("counter", -1),
        ("counter", True),
        ("counter", 1.0),
        ("counter", "1"),
        ("counter", 1 << 63),
        ("compat", []),
        ("compat", {"runtimes": []}),
        ("compat.accelerator", ["npu"]),
        ("compat.runtimes", "onnxruntime"),
        ("compat.runtimes", ["a b"]),
        ("compat.runtimes", ["x"] * 65),
        ("file", None),
        ("file.path", "../model.onnx"),
        ("file.path", "/etc/passwd"),
        ("file.path", "a/model.onnx"),
        ("file.path", "a\\model.onnx"),
        ("file.path", ".model.onnx"),
        ("file.path", "model..onnx"),
        ("file.path", "model"),
        ("file.path", "manifest.json"),
        ("file.path", "MANIFEST.JSON"),
        ("file.path", "model.onnx\x00"),
        ("file.size_bytes", 0),
        ("file.size_bytes", (1 << 40) + 1),
        ("file.sha256", "A" * 64),
        ("file.sha256", "a" * 63),
        ("file.sha256", "../" + "a" * 61),
        ("file.format", ""),
        ("file.more", 1),
        ("golden", ...),
        ("golden.tolerance", -0.1),
        ("golden.tolerance", 1.5),
        ("golden.tolerance", True),
        ("golden.tolerance", "0.1"),
        ("golden.size_bytes", 1 << 31),
        ("unknown", 1),
    ],
)
def test_a_manifest_with_a_part_that_is_missing_unknown_or_out_of_range_is_refused(path, value):
    with pytest.raises(SignatureRefusedError, match=r"manifest"):
        parse_manifest(changed(path, value))


@pytest.mark.parametrize("schema", [0, 2, "1", True, None, 1.0])
def test_another_schema_is_refused_as_incompatible(schema):
    with pytest.raises(IncompatibleReleaseError, match="schema"):
        parse_manifest(changed("schema", schema))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b"[" * 60_000,
        b'{"schema": 1, "schema": 1}',
        json.dumps(GOOD).replace("0.01", "NaN").encode(),
        json.dumps(GOOD).replace("998144", "9" * 5000).encode(),
        json.dumps(GOOD).encode() + b" " * MAXIMUM_MANIFEST_BYTES,
    ],
    ids=["empty", "not-utf8", "list", "null", "cut", "deep", "twice", "nan", "huge-number", "too-large"],
)
def test_bytes_that_are_no_manifest_are_refused(data):
    with pytest.raises(AgentError):
        parse_manifest(data)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_never_crash(data):
    with pytest.raises(AgentError):
        parse_manifest(data)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_value_of_any_type_in_any_place_is_refused_or_read_and_never_crashes(value):
    for path in ("name", "version", "counter", "compat", "compat.runtimes", "file", "file.path", "golden.tolerance"):
        try:
            parse_manifest(changed(path, value))
        except AgentError:
            continue


@pytest.mark.parametrize(
    "path",
    [
        "digits",
        "digits/1",
        "/1.json",
        "digits/.json",
        "digits/../1.json",
        "../digits/1.json",
        "digits/1/2.json",
        "digits/..json",
        "Digits/1.json",
        "digits//1.json",
        "digits/1.json/",
        "digits/1.jsonx",
    ],
)
def test_a_path_that_no_manifest_can_have_is_known(path):
    assert not is_target_path(path)
    assert signed.TARGET_PATH.fullmatch(path) is None


@given(st.from_regex(signed.TARGET_PATH, fullmatch=True))
def test_every_path_that_the_orchestrator_may_publish_is_one_that_the_device_may_ask_for(path):
    assert is_target_path(path)


@given(st.text(alphabet="ab.-_1/", max_size=12))
def test_both_sides_agree_on_what_a_version_is(version):
    data = changed("version", version)
    try:
        parse_manifest(data)
    except SignatureRefusedError:
        assert signed.VERSION.fullmatch(version) is None
    else:
        assert signed.VERSION.fullmatch(version) is not None


def test_the_orchestrator_refuses_the_same_names(tmp_path):
    server = ReleaseServer(tmp_path)
    for parts in ({"name": "Digits"}, {"name": "../x"}, {"version": "1..2"}, {"version": "a/b"}, {"counter": 0}):
        with pytest.raises(InvalidInputError):
            server.manifest(**parts)
