"""The folders that models are served from, and the links that say which one is.

::

    <state>/slots/<manifest sha256>/    manifest.json and the model, read-only
    <state>/current   -> slots/<…>      what is served: the one truth about it
    <state>/previous  -> slots/<…>      what was served before

A slot proves itself: its name is the hash of its manifest, and the manifest names the hash of the model. A consumer
opens ``current/<model>`` and keeps what it has opened; a switch never changes bytes under it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from agent.durable_file import sync_directory, write_durably
from agent.errors import AgentError, ArtifactRefusedError
from agent.update.durable_tree import copy_durably, digest, make_directory, point_link, remove_link
from agent.update.manifest import MAXIMUM_MANIFEST_BYTES, Manifest, is_sha256, parse_manifest

_MANIFEST = "manifest.json"
_READ_ONLY = 0o444


class Slots:
    """The slots of one state directory. Belongs to one thread at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._slots = state_dir / "slots"
        self._current = state_dir / "current"
        self._previous = state_dir / "previous"

    @property
    def current(self) -> str | None:
        """Digest of the manifest that ``current`` points to; None where nothing is served."""
        return _target(self._current)

    @property
    def previous(self) -> str | None:
        """Digest of the manifest that was served before."""
        return _target(self._previous)

    def model_path(self, manifest: Manifest) -> Path:
        """Where the model of a release lies, once it is built."""
        return self._slots / manifest.sha256 / manifest.file.path

    def build(self, manifest: Manifest, manifest_json: bytes, artifact: Path) -> None:
        """Lays a slot out. Files that are there and right stay; files that are there and wrong are replaced whole.

        Nothing points to the slot yet, so half a slot is no danger; only `verify` says that it is whole.

        Raises:
            NoSpaceError: The disk is full.
            ConfigurationError: The files cannot be written.
        """
        slot = self._slots / manifest.sha256
        make_directory(slot)
        write_durably(slot / _MANIFEST, manifest_json, mode=_READ_ONLY)
        model = slot / manifest.file.path
        if not (model.is_file() and digest(model) == (manifest.file.size_bytes, manifest.file.sha256)):
            copy_durably(artifact, model, mode=_READ_ONLY)

    def verify(self, manifest_sha256: str) -> Manifest:
        """The manifest of a slot that is whole: every byte was read back from the disk and hashed.

        Raises:
            ArtifactRefusedError: A file is missing, or has another size or hash than was signed.
            ConfigurationError: The disk does not give it back.
        """
        manifest = self._manifest(manifest_sha256)
        if manifest is None:
            raise ArtifactRefusedError(f"slot {manifest_sha256[:12]} has no manifest, or another one")
        model = self.model_path(manifest)
        if model.is_symlink() or not model.is_file():
            raise ArtifactRefusedError(f"slot {manifest_sha256[:12]} has no {manifest.file.path}")
        size_bytes, sha256 = digest(model)
        if size_bytes != manifest.file.size_bytes:
            raise ArtifactRefusedError(
                f"wrong size: {manifest.file.path} has {size_bytes} bytes, signed are {manifest.file.size_bytes}"
            )
        if sha256 != manifest.file.sha256:
            raise ArtifactRefusedError(
                f"wrong hash: {manifest.file.path} is {sha256[:12]}…, signed is {manifest.file.sha256[:12]}…"
            )
        return manifest

    def served(self) -> Manifest | None:
        """The manifest of what is served; None where nothing is, or where the slot's manifest is not its own."""
        current = self.current
        return None if current is None else self._manifest(current)

    def switch(self, manifest_sha256: str) -> None:
        """Serves a slot from now on and remembers the one before. Done again, it changes nothing.

        Raises:
            NoSpaceError: The disk is full.
            ConfigurationError: The links cannot be written; what was served still is.
        """
        current = self.current
        if current == manifest_sha256:
            return
        if current is not None:
            point_link(self._previous, f"slots/{current}")
        point_link(self._current, f"slots/{manifest_sha256}")

    def restore(self, manifest_sha256: str | None) -> None:
        """Serves what was served before a switch; nothing, where nothing was.

        Raises:
            NoSpaceError: The disk is full.
            ConfigurationError: The links cannot be written.
        """
        if manifest_sha256 is None:
            remove_link(self._current)
        elif self.current != manifest_sha256:
            point_link(self._current, f"slots/{manifest_sha256}")
        # What was served before that is no longer known.
        if self.previous in (self.current, manifest_sha256):
            remove_link(self._previous)

    def collect(self, keep: Collection[str] = ()) -> None:
        """Removes every slot that neither a link nor ``keep`` names; what resists is left for the next time."""
        needed = {self.current, self.previous, *keep}
        with contextlib.suppress(OSError):
            for slot in self._slots.iterdir():
                if slot.name not in needed:
                    shutil.rmtree(slot, ignore_errors=True)
            sync_directory(self._slots)

    def _manifest(self, manifest_sha256: str) -> Manifest | None:
        try:
            with (self._slots / manifest_sha256 / _MANIFEST).open("rb") as file:
                manifest = parse_manifest(file.read(MAXIMUM_MANIFEST_BYTES + 1))
        except (OSError, AgentError):
            return None
        return manifest if manifest.sha256 == manifest_sha256 else None


def _target(link: Path) -> str | None:
    """The slot that a link names. What the link says, not whether the slot is there."""
    try:
        name = Path(os.readlink(link)).name
    except OSError:
        return None
    return name if is_sha256(name) else None
