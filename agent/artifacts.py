"""Artifacts on this device: files named by their SHA-256, fetched resumably, checked, and kept within a quota."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

from agent.delivery import Delivery
from agent.durable_file import storage_error, sync_directory
from agent.errors import ArtifactRefusedError, NoSpaceError

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1 << 20
# Left free on the disk for whatever else must be written: the database, the journal of an update, logs.
_RESERVE_BYTES = 16 << 20


class ArtifactStore:
    """A directory of artifacts. A file under its plain name is complete and was checked; ``.part`` is on its way.

    Args:
        root: The directory; made when it is not there.
        delivery: Where bytes come from; nothing that it says is believed.
        quota_bytes: All files together stay below it; those that were not used for longest make room.
        reserve_bytes: Space of the disk that is never used up.
    """

    def __init__(
        self, root: Path, delivery: Delivery, *, quota_bytes: int, reserve_bytes: int = _RESERVE_BYTES
    ) -> None:
        self._root = root
        self._delivery = delivery
        self._quota_bytes = quota_bytes
        self._reserve_bytes = reserve_bytes
        self._locks: dict[str, asyncio.Lock] = {}
        self._holds: Counter[str] = Counter()

    async def fetch(
        self, sha256: str, size_bytes: int, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Path:
        """The file with these bytes; from the cache where it is there, and otherwise from where the last try ended.

        Args:
            sha256: Lower-case hexadecimal; the file's name.
            size_bytes: As announced; not one byte more is taken.
            on_progress: Told the bytes that are here and the bytes that there will be.

        Raises:
            ArtifactRefusedError: The bytes have another size or hash, or the orchestrator does not give them.
            NoSpaceError: Disk or quota are too small; raised before the first byte where that can be known.
            UnreachableError: The connection was lost; the next call goes on where this one ended.
            ConfigurationError: The directory cannot be written.
        """
        if not _SHA256.fullmatch(sha256):
            raise ArtifactRefusedError(f"'{sha256[:80]}' is not a SHA-256", hint="this orchestrator sends nonsense")
        with self.hold(sha256):
            async with self._locks.setdefault(sha256, asyncio.Lock()):
                try:
                    return await self._fetch(sha256, size_bytes, on_progress)
                except OSError as error:
                    raise storage_error(error, self._root / sha256) from error

    @contextlib.contextmanager
    def hold(self, sha256: str) -> Iterator[None]:
        """Keeps the artifact from being evicted inside the block."""
        self._holds[sha256] += 1
        try:
            yield
        finally:
            self._holds[sha256] -= 1
            if not self._holds[sha256]:
                del self._holds[sha256]
                self._locks.pop(sha256, None)

    async def _fetch(self, sha256: str, size_bytes: int, on_progress: Callable[[int, int], None] | None) -> Path:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        complete, part = self._root / sha256, self._root / f"{sha256}.part"
        if await self._usable(complete, sha256, size_bytes):
            os.utime(complete)
            return complete
        offset = self._resume_at(part, size_bytes)
        self._make_room(size_bytes, size_bytes - offset)
        await self._download(part, sha256, offset, size_bytes, on_progress)
        if await _sha256_on_disk(part) != sha256 and offset > 0:
            # The kept beginning may be what a power cut left of it; only a whole download can be blamed on the server.
            _log.warning("the resumed download of %s has another hash: starting over", sha256)
            part.unlink()
            await self._download(part, sha256, 0, size_bytes, on_progress)
        if await _sha256_on_disk(part) != sha256:
            part.unlink()
            raise ArtifactRefusedError(
                f"the bytes of artifact {sha256} have another hash",
                hint="they were altered on the way, or at the source",
            )
        os.replace(part, complete)
        sync_directory(self._root)
        return complete

    async def _usable(self, path: Path, sha256: str, size_bytes: int) -> bool:
        """Whether the cache has it, undamaged: storage cards flip bits."""
        try:
            found_bytes = path.stat().st_size
        except FileNotFoundError:
            return False
        if await _sha256_on_disk(path) != sha256:
            _log.warning("cached artifact %s is damaged: fetching it again", sha256)
            path.unlink()
            return False
        if found_bytes != size_bytes:
            raise ArtifactRefusedError(f"artifact {sha256} has {found_bytes} bytes, not the {size_bytes} announced")
        return True

    def _resume_at(self, part: Path, size_bytes: int) -> int:
        try:
            present_bytes = part.stat().st_size
        except FileNotFoundError:
            return 0
        if present_bytes <= size_bytes:
            return present_bytes
        part.unlink()
        return 0

    async def _download(
        self, part: Path, sha256: str, offset: int, size_bytes: int, on_progress: Callable[[int, int], None] | None
    ) -> None:
        """Appends what is missing to ``part``; it has exactly ``size_bytes`` on the disk when this returns."""
        present_bytes = offset
        with part.open("ab", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            stream = self._delivery.fetch_artifact(sha256, offset=offset)
            try:
                # A whole part that only lacked its check asks for nothing.
                while present_bytes < size_bytes:
                    data = await anext(stream, None)
                    if data is None:
                        break
                    present_bytes += len(data)
                    if present_bytes <= size_bytes:
                        _write_all(file.fileno(), data)
                        if on_progress is not None:
                            on_progress(present_bytes, size_bytes)
            finally:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            await asyncio.to_thread(os.fsync, file.fileno())
        if present_bytes != size_bytes:
            part.unlink()
            given = f"more than {size_bytes}" if present_bytes > size_bytes else str(present_bytes)
            raise ArtifactRefusedError(f"artifact {sha256} has {given} bytes, not the {size_bytes} announced")

    def _make_room(self, size_bytes: int, missing_bytes: int) -> None:
        """Evicts what was not used for longest until the artifact fits, if that can make it fit at all."""
        if size_bytes > self._quota_bytes:
            raise NoSpaceError(
                f"the artifact has {size_bytes} bytes, the quota of the cache is {self._quota_bytes}",
                hint="raise --cache-quota-mib",
            )
        files = self._evictable()
        # Parts that are being fetched, and held files, count as well.
        used_bytes = sum(path.stat().st_size for path in self._root.iterdir())
        while True:
            needed_bytes = missing_bytes + self._reserve_bytes
            free_bytes = _free_bytes(self._root)
            if used_bytes + missing_bytes <= self._quota_bytes and needed_bytes <= free_bytes:
                return
            if not files:
                break
            oldest = files.pop(0)
            used_bytes -= oldest.stat().st_size
            oldest.unlink()
        if needed_bytes > free_bytes:
            raise NoSpaceError(
                f"{needed_bytes} bytes are needed in {self._root}, {free_bytes} are free",
                hint="free some space on the disk that holds the state directory",
            )
        raise NoSpaceError(
            f"artifacts in use leave no {missing_bytes} bytes of the cache's quota of {self._quota_bytes}",
            hint="raise --cache-quota-mib",
        )

    def _evictable(self) -> list[Path]:
        """Files that may go, the one that was not used for longest first."""
        candidates = [path for path in self._root.iterdir() if self._holds[path.name.removesuffix(".part")] == 0]
        return sorted(candidates, key=lambda path: path.stat().st_mtime_ns)


async def _sha256_on_disk(path: Path) -> str:
    """The hash of the bytes as they are read back, off the event loop."""
    return await asyncio.to_thread(_read_back, path)


def _read_back(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        # Written pages are clean after the sync: dropping them makes this a read of the disk, not of the memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _free_bytes(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize
