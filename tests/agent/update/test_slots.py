import os

import pytest

from agent.errors import ArtifactRefusedError, ConfigurationError
from agent.update.manifest import parse_manifest
from agent.update.slots import Slots
from tests.fakes.release_server import ReleaseServer


@pytest.fixture
def state_dir(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def slots(state_dir):
    return Slots(state_dir)


@pytest.fixture
def build(slots, tmp_path):
    server = ReleaseServer(tmp_path)

    def make(model: bytes):
        data = server.manifest(model=model, version=str(len(model)))
        manifest = parse_manifest(data)
        artifact = tmp_path / manifest.file.sha256
        artifact.write_bytes(model)
        slots.build(manifest, data, artifact)
        return manifest

    return make


def test_nothing_is_served_before_the_first_switch(slots, build):
    build(b"one")
    assert slots.current is None
    assert slots.served() is None


def test_a_slot_is_whole_and_read_only(slots, build):
    manifest = build(b"one")
    assert slots.verify(manifest.sha256) == manifest
    path = slots.model_path(manifest)
    assert path.read_bytes() == b"one"
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o444}


def test_a_flipped_byte_is_found(slots, build):
    manifest = build(b"one")
    path = slots.model_path(manifest)
    path.chmod(0o644)
    path.write_bytes(b"onf")
    with pytest.raises(ArtifactRefusedError, match="wrong hash"):
        slots.verify(manifest.sha256)


def test_a_model_of_another_size_is_found(slots, build):
    manifest = build(b"one")
    path = slots.model_path(manifest)
    path.chmod(0o644)
    path.write_bytes(b"one more")
    with pytest.raises(ArtifactRefusedError, match="wrong size"):
        slots.verify(manifest.sha256)


def test_a_missing_model_and_a_link_in_its_place_are_found(slots, build, tmp_path):
    manifest = build(b"one")
    path = slots.model_path(manifest)
    path.unlink()
    with pytest.raises(ArtifactRefusedError, match="has no model"):
        slots.verify(manifest.sha256)
    path.symlink_to(tmp_path / manifest.file.sha256)
    with pytest.raises(ArtifactRefusedError, match="has no model"):
        slots.verify(manifest.sha256)


def test_the_manifest_of_another_slot_proves_nothing(slots, build):
    first, second = build(b"one"), build(b"three")
    (slots.model_path(second).parent / "manifest.json").unlink()
    os.link(slots.model_path(first).parent / "manifest.json", slots.model_path(second).parent / "manifest.json")
    with pytest.raises(ArtifactRefusedError, match="or another one"):
        slots.verify(second.sha256)


def test_building_again_repairs_what_is_damaged_and_keeps_what_is_right(slots, build):
    manifest = build(b"one")
    path = slots.model_path(manifest)
    before = path.stat().st_ino
    build(b"one")
    assert path.stat().st_ino == before
    path.chmod(0o644)
    path.write_bytes(b"on")
    build(b"one")
    assert slots.verify(manifest.sha256) == manifest


def test_leftovers_of_a_crash_do_not_stand_in_the_way(slots, build):
    manifest = build(b"one")
    directory = slots.model_path(manifest).parent
    slots.model_path(manifest).unlink()
    (directory / ".model.onnx.tmp").write_bytes(b"half")
    build(b"one")
    assert slots.verify(manifest.sha256) == manifest
    assert sorted(entry.name for entry in directory.iterdir()) == ["manifest.json", "model.onnx"]


def test_a_switch_remembers_what_was_served_before(slots, build):
    first, second = build(b"one"), build(b"three")
    slots.switch(first.sha256)
    assert (slots.current, slots.previous) == (first.sha256, None)
    slots.switch(second.sha256)
    assert (slots.current, slots.previous) == (second.sha256, first.sha256)
    assert slots.served() == second


def test_a_switch_done_again_changes_nothing(slots, build):
    first, second = build(b"one"), build(b"three")
    slots.switch(first.sha256)
    slots.switch(second.sha256)
    slots.switch(second.sha256)
    assert (slots.current, slots.previous) == (second.sha256, first.sha256)


def test_the_link_is_never_absent_during_a_switch(slots, build, state_dir, monkeypatch):
    first, second = build(b"one"), build(b"three")
    slots.switch(first.sha256)
    seen = []
    real = os.fsync
    monkeypatch.setattr("os.fsync", lambda descriptor: (seen.append(slots.current), real(descriptor))[1])
    slots.switch(second.sha256)
    assert set(seen) == {first.sha256, second.sha256}


def test_a_consumer_keeps_what_it_has_opened(slots, build, state_dir):
    first, second = build(b"one"), build(b"three")
    slots.switch(first.sha256)
    with (state_dir / "current" / "model.onnx").open("rb") as opened:
        slots.switch(second.sha256)
        slots.restore(second.sha256)
        slots.collect()
        assert opened.read() == b"one"
    assert (state_dir / "current" / "model.onnx").read_bytes() == b"three"


def test_going_back_serves_what_was_served_before(slots, build):
    first, second = build(b"one"), build(b"three")
    slots.switch(first.sha256)
    slots.switch(second.sha256)
    slots.restore(first.sha256)
    assert slots.served() == first
    slots.restore(first.sha256)
    assert slots.served() == first


def test_going_back_from_the_first_release_serves_nothing(slots, build):
    slots.switch(build(b"one").sha256)
    slots.restore(None)
    slots.restore(None)
    assert slots.current is None


def test_only_what_is_needed_is_kept(slots, build, state_dir):
    first, second, third, fourth = build(b"1"), build(b"22"), build(b"333"), build(b"4444")
    slots.switch(first.sha256)
    slots.switch(second.sha256)
    slots.switch(third.sha256)
    slots.collect(keep=[fourth.sha256])
    kept = {entry.name for entry in (state_dir / "slots").iterdir()}
    assert kept == {second.sha256, third.sha256, fourth.sha256}


def test_a_link_to_something_else_is_not_a_slot(slots, state_dir):
    (state_dir / "current").symlink_to("/etc")
    assert slots.current is None
    assert slots.served() is None


def test_a_state_directory_that_cannot_be_written_is_said_so(slots, build, state_dir, monkeypatch):
    manifest = build(b"one")

    def refuse(*_args, **_options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.symlink", refuse)
    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    with pytest.raises(ConfigurationError, match="Read-only file system"):
        slots.switch(manifest.sha256)
    assert slots.current is None
