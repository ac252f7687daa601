"""The artifact store: resumes, believes nothing, and keeps within its limits."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.artifacts import ArtifactStore
from agent.errors import ArtifactRefusedError, NoSpaceError, UnreachableError

DATA = bytes(range(256)) * 400
SHA256 = hashlib.sha256(DATA).hexdigest()
CHUNK_BYTES = 10_000


class FakeDelivery:
    """Serves bytes in chunks; cut off once at each of the places that the test names."""

    def __init__(self, *artifacts: bytes) -> None:
        self.artifacts = {hashlib.sha256(data).hexdigest(): data for data in artifacts}
        self.cuts: list[int] = []
        self.offsets: list[int] = []
        self.closed = 0

    async def fetch_artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        self.offsets.append(offset)
        data = self.artifacts[sha256]
        end = self.cuts.pop(0) if self.cuts else None
        try:
            for start in range(offset, len(data) if end is None else end, CHUNK_BYTES):
                await asyncio.sleep(0)
                yield data[start : start + CHUNK_BYTES][: None if end is None else end - start]
            if end is not None:
                raise UnreachableError("cut off")
        finally:
            self.closed += 1

    async def fetch_repository_file(self, path: str) -> bytes | None:
        raise AssertionError(path)


def store(root: Path, delivery: FakeDelivery, *, quota_bytes: int = 1 << 20) -> ArtifactStore:
    return ArtifactStore(root, delivery, quota_bytes=quota_bytes)


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_an_artifact_is_fetched_once_and_then_taken_from_the_cache(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    artifacts = store(tmp_path, delivery)
    seen: list[tuple[int, int]] = []

    first = asyncio.run(artifacts.fetch(SHA256, len(DATA), on_progress=lambda here, all_: seen.append((here, all_))))
    second = asyncio.run(artifacts.fetch(SHA256, len(DATA)))

    assert first == second == tmp_path / SHA256
    assert first.read_bytes() == DATA
    assert delivery.offsets == [0]
    assert delivery.closed == 1
    assert seen[-1] == (len(DATA), len(DATA))
    assert names(tmp_path) == {SHA256}


@pytest.mark.parametrize(
    "cut", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(DATA) // 2, len(DATA) - 1, len(DATA)]
)
def test_a_download_goes_on_where_it_was_cut(tmp_path: Path, cut: int) -> None:
    delivery = FakeDelivery(DATA)
    delivery.cuts = [cut]
    artifacts = store(tmp_path, delivery)
    if cut < len(DATA):
        with pytest.raises(UnreachableError):
            asyncio.run(artifacts.fetch(SHA256, len(DATA)))
        assert names(tmp_path) == {f"{SHA256}.part"}

    assert asyncio.run(artifacts.fetch(SHA256, len(DATA))).read_bytes() == DATA
    assert delivery.offsets == ([0, cut] if cut < len(DATA) else [0])


def test_a_process_that_is_killed_in_mid_download_is_continued_by_the_next(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    (tmp_path / f"{SHA256}.part").write_bytes(DATA[:12_345])
    assert asyncio.run(store(tmp_path, delivery).fetch(SHA256, len(DATA))).read_bytes() == DATA
    assert delivery.offsets == [12_345]


def test_a_whole_part_only_needs_its_check(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    (tmp_path / f"{SHA256}.part").write_bytes(DATA)
    assert asyncio.run(store(tmp_path, delivery).fetch(SHA256, len(DATA))).read_bytes() == DATA
    assert delivery.offsets == []


@pytest.mark.parametrize("kept", [b"", b"X" * 500, DATA + b"too long"])
def test_a_spoiled_beginning_costs_a_new_download_and_nothing_else(tmp_path: Path, kept: bytes) -> None:
    delivery = FakeDelivery(DATA)
    (tmp_path / f"{SHA256}.part").write_bytes(kept)
    assert asyncio.run(store(tmp_path, delivery).fetch(SHA256, len(DATA))).read_bytes() == DATA
    assert delivery.offsets[-1] == 0


@pytest.mark.parametrize("position", [0, len(DATA) // 2, len(DATA) - 1])
def test_one_altered_byte_is_refused_and_the_part_is_gone(tmp_path: Path, position: int) -> None:
    delivery = FakeDelivery(DATA)
    delivery.artifacts[SHA256] = DATA[:position] + bytes([DATA[position] ^ 1]) + DATA[position + 1 :]
    with pytest.raises(ArtifactRefusedError, match="another hash"):
        asyncio.run(store(tmp_path, delivery).fetch(SHA256, len(DATA)))
    assert names(tmp_path) == set()


def test_not_one_byte_more_than_announced_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = os.write, 0

    def counted(descriptor: int, data: bytes) -> int:
        nonlocal written
        written += len(data)
        return write(descriptor, data)

    monkeypatch.setattr("agent.artifacts.os.write", counted)

    class Endless(FakeDelivery):
        async def fetch_artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
            while True:
                self.closed += 1
                yield b"x" * 700

    delivery = Endless()
    with pytest.raises(ArtifactRefusedError, match="more than 1000 bytes"):
        asyncio.run(store(tmp_path, delivery).fetch(SHA256, 1000))
    assert delivery.closed == 2
    assert written == 700
    assert names(tmp_path) == set()


def test_fewer_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefusedError, match=f"{len(DATA)} bytes, not the {len(DATA) + 1}"):
        asyncio.run(store(tmp_path, FakeDelivery(DATA)).fetch(SHA256, len(DATA) + 1))
    assert names(tmp_path) == set()


def test_a_cached_artifact_is_not_given_out_under_another_size(tmp_path: Path) -> None:
    artifacts = store(tmp_path, FakeDelivery(DATA))
    asyncio.run(artifacts.fetch(SHA256, len(DATA)))
    with pytest.raises(ArtifactRefusedError, match="not the 5 announced"):
        asyncio.run(artifacts.fetch(SHA256, 5))


def test_a_bit_that_flipped_on_the_card_is_noticed(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    artifacts = store(tmp_path, delivery)
    path = asyncio.run(artifacts.fetch(SHA256, len(DATA)))
    path.write_bytes(DATA[:-1] + b"?")
    assert asyncio.run(artifacts.fetch(SHA256, len(DATA))).read_bytes() == DATA
    assert delivery.offsets == [0, 0]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "\n", "/" * 64])
def test_what_is_no_hash_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    delivery = FakeDelivery(DATA)
    with pytest.raises(ArtifactRefusedError, match="not a SHA-256"):
        asyncio.run(store(tmp_path / "stage", delivery).fetch(name, 10))
    assert delivery.offsets == []
    assert names(tmp_path) == set()


def test_two_who_want_the_same_artifact_share_one_download(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    artifacts = store(tmp_path, delivery)

    async def both() -> list[Path]:
        return await asyncio.gather(*(artifacts.fetch(SHA256, len(DATA)) for _ in range(2)))

    assert asyncio.run(both()) == [tmp_path / SHA256] * 2
    assert delivery.offsets == [0]


def test_the_artifact_that_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    models = [bytes([number]) * 1000 for number in range(4)]
    hashes = [hashlib.sha256(model).hexdigest() for model in models]
    artifacts = store(tmp_path, FakeDelivery(*models), quota_bytes=3000)
    for age, sha256 in enumerate(hashes[:3]):
        path = asyncio.run(artifacts.fetch(sha256, 1000))
        os.utime(path, (1000 + age, 1000 + age))
    # The oldest is used again.
    asyncio.run(artifacts.fetch(hashes[0], 1000))

    asyncio.run(artifacts.fetch(hashes[3], 1000))

    assert names(tmp_path) == {hashes[0], hashes[2], hashes[3]}


def test_an_artifact_in_use_is_never_evicted(tmp_path: Path) -> None:
    models = [bytes([number]) * 1000 for number in range(2)]
    hashes = [hashlib.sha256(model).hexdigest() for model in models]
    artifacts = store(tmp_path, FakeDelivery(*models), quota_bytes=1500)
    asyncio.run(artifacts.fetch(hashes[0], 1000))
    with artifacts.hold(hashes[0]), pytest.raises(NoSpaceError, match="artifacts in use"):
        asyncio.run(artifacts.fetch(hashes[1], 1000))
    assert names(tmp_path) == {hashes[0]}

    asyncio.run(artifacts.fetch(hashes[1], 1000))
    assert names(tmp_path) == {hashes[1]}


def test_abandoned_parts_count_and_make_room_too(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 64}.part").write_bytes(b"x" * 900)
    model = b"m" * 1000
    asyncio.run(
        store(tmp_path, FakeDelivery(model), quota_bytes=1500).fetch(hashlib.sha256(model).hexdigest(), len(model))
    )
    assert names(tmp_path) == {hashlib.sha256(model).hexdigest()}


def test_what_exceeds_the_quota_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    with pytest.raises(NoSpaceError, match=f"{len(DATA)} bytes"):
        asyncio.run(store(tmp_path, delivery, quota_bytes=1000).fetch(SHA256, len(DATA)))
    assert delivery.offsets == []


def test_a_disk_that_is_too_full_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    delivery = FakeDelivery(DATA)
    artifacts = ArtifactStore(tmp_path, delivery, quota_bytes=1 << 20, reserve_bytes=1 << 60)
    with pytest.raises(NoSpaceError, match="are free") as caught:
        asyncio.run(artifacts.fetch(SHA256, len(DATA)))
    assert delivery.offsets == []
    assert str(len(DATA) + (1 << 60)) in caught.value.message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_is_refused_before_the_first_byte(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(b"x" * 200_000)
    delivery = FakeDelivery(DATA)
    root = small_disk / "stage"
    with pytest.raises(NoSpaceError):
        asyncio.run(ArtifactStore(root, delivery, quota_bytes=1 << 20, reserve_bytes=0).fetch(SHA256, len(DATA)))
    assert delivery.offsets == []


def test_a_disk_that_fills_up_in_mid_download_keeps_what_is_there_and_goes_on_later(small_disk: Path) -> None:
    class Filling(FakeDelivery):
        async def fetch_artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
            async for data in super().fetch_artifact(sha256, offset=offset):
                yield data
                if offset == 0:
                    # Another process takes the rest.
                    with (small_disk / "other").open("ab", buffering=0) as file:
                        try:
                            while file.write(b"x" * 4096) == 4096:
                                pass
                        except OSError:
                            pass

    delivery = Filling(DATA)
    root = small_disk / "stage"
    artifacts = ArtifactStore(root, delivery, quota_bytes=1 << 20, reserve_bytes=0)
    with pytest.raises(NoSpaceError, match="No space left"):
        asyncio.run(artifacts.fetch(SHA256, len(DATA)))
    kept = (root / f"{SHA256}.part").stat().st_size
    assert 0 < kept < len(DATA)

    (small_disk / "other").unlink()
    assert asyncio.run(artifacts.fetch(SHA256, len(DATA))).read_bytes() == DATA
    assert delivery.offsets == [0, kept]


def test_files_are_for_the_agent_only(tmp_path: Path) -> None:
    path = asyncio.run(store(tmp_path / "stage", FakeDelivery(DATA)).fetch(SHA256, len(DATA)))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
