"""The release repository (TUF) as a tree of static files, which any server may serve and nobody needs to trust.

::

    repository/metadata/1.root.json 7.targets.json 7.snapshot.json … timestamp.json
    repository/targets/<name>/<sha256>.<version>.json

Consistent snapshots, no delegations. Every file but ``timestamp.json`` has its version or hash in its name and never
changes once the timestamp leads to it; the timestamp is replaced last, in one step. So whoever reads sees the state
before a publication or the one after it, and a process that is killed in between leaves only files that nothing leads
to.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from orchestrator.durable_file import sync_directory, write_durably
from orchestrator.errors import ConflictError, NotFoundError, OperationError
from orchestrator.releases.keys import ROLES, SigningKeys
from orchestrator.releases.manifest import TARGET_PATH

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)

_log = logging.getLogger(__name__)

LIFETIME = {
    Root.type: timedelta(days=365),
    Targets.type: timedelta(days=90),
    Snapshot.type: timedelta(days=7),
    Timestamp.type: timedelta(days=1),
}
# Signed anew when less than this is left: time enough to notice that it does not work.
RENEWED_WITH = {
    Root.type: timedelta(days=60),
    Targets.type: timedelta(days=30),
    Snapshot.type: timedelta(days=3),
    Timestamp.type: timedelta(hours=12),
}

# The only paths that are served. None of them can lead out of the directory.
_METADATA_PATH = re.compile(r"metadata/(timestamp|[1-9][0-9]{0,8}\.(root|targets|snapshot))\.json")
_TARGET_PATH = re.compile(r"targets/[a-z0-9-]{1,63}/[0-9a-f]{64}\.[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.json")


class ReleaseRepository:
    """The one writer of a release repository. Safe to use from several threads; blocks on the disk."""

    def __init__(self, directory: Path, *, keys: SigningKeys) -> None:
        self._metadata = directory / "metadata"
        self._targets = directory / "targets"
        self._keys = keys
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: Path, *, keys_directory: Path, now: datetime) -> ReleaseRepository:
        """The repository in a directory; at the first start, a new one with new keys.

        Raises:
            OperationError: It cannot be read or written, or there is a repository and not the keys for it.
        """
        begun = (directory / "metadata" / "1.root.json").exists()
        keys = SigningKeys.load(keys_directory) if begun else SigningKeys.load_or_create(keys_directory)
        repository = cls(directory, keys=keys)
        if not (directory / "metadata" / "timestamp.json").exists():
            repository._create(now)
        return repository

    def trust_root(self) -> bytes:
        """The first root metadata: what a device is given when it joins, and holds everything else against.

        Raises:
            OperationError: It cannot be read.
        """
        return self._read(self._metadata / "1.root.json")

    def file(self, path: str) -> bytes:
        """The file at a path in the repository, as devices ask for it.

        Raises:
            NotFoundError: There is none, or the path is not one of a repository file.
            OperationError: It cannot be read.
        """
        kind, _, rest = path.partition("/")
        if _METADATA_PATH.fullmatch(path):
            found = self._metadata / rest
        elif _TARGET_PATH.fullmatch(path):
            found = self._targets / rest
        else:
            raise NotFoundError("there is no such file in the release repository")
        if not found.is_file():
            raise NotFoundError(f"there is no {kind} file '{rest}' in the release repository")
        return self._read(found)

    def publish(self, path: str, data: bytes, *, now: datetime) -> None:
        """Makes ``data`` the target at ``path``, signed. The same again changes nothing.

        Raises:
            ConflictError: There is another target at this path: what was published never changes.
            OperationError: It cannot be written, or this orchestrator does not hold enough keys.
        """
        if TARGET_PATH.fullmatch(path) is None:
            raise ValueError(f"not the path of a manifest: {path}")
        with self._lock:
            targets = self._current_targets()
            sha256 = hashlib.sha256(data).hexdigest()
            published = targets.signed.targets.get(path)
            if published is not None:
                if published.hashes["sha256"] != sha256:
                    raise ConflictError(f"{path} is published with other content", hint="choose another version")
                return
            folder, _, name = path.rpartition("/")
            self._make_directory(self._targets / folder)
            write_durably(self._targets / folder / f"{sha256}.{name}", data)
            targets.signed.targets[path] = TargetFile.from_data(path, data, ["sha256"])
            self._renew(targets, now)
            self._renew_snapshot(now, targets)

    def refresh_if_due(self, now: datetime) -> bool:
        """Signs again what expires soon, and what depends on it; whether there was anything.

        Raises:
            OperationError: It cannot be written.
        """
        with self._lock:
            due = {role for role in ROLES if self._expires(role) - now <= RENEWED_WITH[role]}
            for role in sorted(due):
                if not self._can_sign(role):
                    _log.warning(
                        "%s of the release repository expires %s, and its keys are not in %s",
                        role, self._expires(role), self._keys.holding(role),
                    )  # fmt: skip
                    due.remove(role)
            if Root.type in due:
                root = self._root()
                self._renew(root, now)
            if Targets.type in due:
                targets = self._current_targets()
                self._renew(targets, now)
                self._renew_snapshot(now, targets)
            elif Snapshot.type in due:
                self._renew_snapshot(now)
            elif Timestamp.type in due:
                self._renew_timestamp(now)
            return bool(due)

    def _create(self, now: datetime) -> None:
        """Writes the first version of every role; also after a start that was killed while it did so."""
        self._make_directory(self._metadata)
        self._make_directory(self._targets)
        if not (self._metadata / "1.root.json").exists():
            root = Root(consistent_snapshot=True, expires=now + LIFETIME[Root.type])
            for role in ROLES:
                for signer in self._keys.signers(role):
                    root.add_key(signer.public_key, role)
            self._write(Metadata(root), root)
        root = self._root().signed
        targets = Metadata(Targets(expires=now + LIFETIME[Targets.type]))
        snapshot = Metadata(Snapshot(expires=now + LIFETIME[Snapshot.type]))
        timestamp = Metadata(Timestamp(expires=now + LIFETIME[Timestamp.type]))
        snapshot.signed.meta["targets.json"] = _described(targets, self._write(targets, root))
        timestamp.signed.snapshot_meta = _described(snapshot, self._write(snapshot, root))
        self._write(timestamp, root)
        _log.info("made a new release repository in %s", self._metadata.parent)

    def _renew_snapshot(self, now: datetime, targets: Metadata[Targets] | None = None) -> None:
        """Publishes a new snapshot, with the targets that were just written where there are, and its timestamp."""
        snapshot = self._current_snapshot()
        if targets is not None:
            data = self._read(self._metadata / f"{targets.signed.version}.targets.json")
            snapshot.signed.meta["targets.json"] = _described(targets, data)
        self._renew(snapshot, now)
        self._renew_timestamp(now, snapshot)

    def _renew_timestamp(self, now: datetime, snapshot: Metadata[Snapshot] | None = None) -> None:
        timestamp = self._current_timestamp()
        if snapshot is not None:
            data = self._read(self._metadata / f"{snapshot.signed.version}.snapshot.json")
            timestamp.signed.snapshot_meta = _described(snapshot, data)
        self._renew(timestamp, now)

    def _renew(self, metadata: Metadata[T], now: datetime) -> None:
        """Writes the next version of a role."""
        metadata.signed.version += 1
        metadata.signed.expires = now + LIFETIME[metadata.signed.type]
        self._write(metadata, self._root().signed)

    def _write(self, metadata: Metadata[T], root: Root) -> bytes:
        """Signs with the keys that the root names, and writes; the bytes as written."""
        signed = metadata.signed
        role = root.roles[signed.type]
        signers = [signer for signer in self._keys.signers(signed.type) if signer.public_key.keyid in role.keyids]
        if len(signers) < role.threshold:
            raise OperationError(
                f"{signed.type} of the release repository needs {role.threshold} signatures, "
                f"and {len(signers)} of its keys are in {self._keys.holding(signed.type)}",
                hint="put the missing keys there, or restore the keys directory from a copy",
                reason="SIGNING_KEYS_MISSING",
            )
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        data = metadata.to_bytes(JSONSerializer(compact=True))
        version = "" if signed.type == Timestamp.type else f"{signed.version}."
        write_durably(self._metadata / f"{version}{signed.type}.json", data)
        return data

    def _can_sign(self, role: str) -> bool:
        wanted = self._root().signed.roles[role]
        held = {signer.public_key.keyid for signer in self._keys.signers(role)}
        return len(held & set(wanted.keyids)) >= wanted.threshold

    def _expires(self, role: str) -> datetime:
        current: dict[str, Callable[[], Metadata[Any]]] = {
            Root.type: self._root,
            Targets.type: self._current_targets,
            Snapshot.type: self._current_snapshot,
            Timestamp.type: self._current_timestamp,
        }
        expires: datetime = current[role]().signed.expires
        return expires

    def _root(self) -> Metadata[Root]:
        """The newest root: versions follow one another without a gap."""
        version = 1
        while (self._metadata / f"{version + 1}.root.json").exists():
            version += 1
        return self._load(Root, f"{version}.root.json")

    # What the timestamp leads to, not what has the highest number: that may never have been finished.

    def _current_timestamp(self) -> Metadata[Timestamp]:
        return self._load(Timestamp, "timestamp.json")

    def _current_snapshot(self) -> Metadata[Snapshot]:
        return self._load(Snapshot, f"{self._current_timestamp().signed.snapshot_meta.version}.snapshot.json")

    def _current_targets(self) -> Metadata[Targets]:
        return self._load(Targets, f"{self._current_snapshot().signed.meta['targets.json'].version}.targets.json")

    def _load(self, kind: type[T], name: str) -> Metadata[T]:
        try:
            metadata = Metadata[T].from_bytes(self._read(self._metadata / name))
        except RepositoryError as error:
            raise OperationError(
                f"the release repository's {name} is damaged: {error}", hint="restore the repository from a copy"
            ) from error
        if not isinstance(metadata.signed, kind):
            raise OperationError(f"the release repository's {name} is of type {metadata.signed.type}")
        return metadata

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise OperationError(
                f"cannot read {path}: {error.strerror}", hint="restore the release repository from a copy"
            ) from error

    def _make_directory(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(directory.parent)
            sync_directory(directory.parent.parent)
        except OSError as error:
            raise OperationError(f"cannot make {directory}: {error.strerror}") from error


def _described(metadata: Metadata[T], data: bytes) -> MetaFile:
    """What the next role says of this one: version, length and hash, which is what stops mixing and endless data."""
    return MetaFile.from_data(metadata.signed.version, data, ["sha256"])
