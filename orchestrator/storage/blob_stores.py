"""The kinds of blob store, by the scheme of their address, and how to open one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator.errors import InvalidInputError
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.folder_blob_store import FolderBlobStore
from orchestrator.storage.object_blob_store import ObjectBlobStore

# Third parties add a scheme with an entry point of this group: its name is the scheme, its object takes the address.
ENTRY_POINT_GROUP = "fleetfit.blob_stores"


def _open_folder(url: str) -> BlobStore:
    return FolderBlobStore(Path(unquote(urlsplit(url).path)))


SCHEMES: Mapping[str, Callable[[str], BlobStore]] = {
    "file": _open_folder,
    "memory": ObjectBlobStore.open,
    "s3": ObjectBlobStore.open,
}


def open_blob_store(url_or_path: str | Path) -> BlobStore:
    """The blob store at an address (``s3://bucket/prefix``, ``memory://``) or in a folder.

    Raises:
        InvalidInputError: No store is known for the address's scheme.
        OperationError: It cannot be written.
        UnavailableError: It cannot be reached.
    """
    place = str(url_or_path)
    scheme, separator, _ = place.partition("://")
    if not separator:
        return FolderBlobStore(Path(place))
    opener = SCHEMES.get(scheme) or _third_party(scheme)
    if opener is None:
        known = ", ".join(sorted(SCHEMES))
        hint = f"name a folder, or an address that begins with one of {known}"
        raise InvalidInputError(f"no blob store is known for '{scheme}://'", hint=hint)
    return opener(place)


def _third_party(scheme: str) -> Callable[[str], BlobStore] | None:
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=scheme):
        opener: Callable[[str], BlobStore] = entry_point.load()
        return opener
    return None
