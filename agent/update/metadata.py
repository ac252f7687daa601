"""The TUF client: bytes of a release repository in, a proven manifest or a refusal out.

The only file that imports tuf; it runs in a process of its own (``agent.update.prover``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from agent.durable_file import storage_error, write_durably
from agent.errors import SignatureRefusedError
from agent.update.durable_tree import make_directory
from agent.update.manifest import MAXIMUM_MANIFEST_BYTES
from agent.update.proof import ProofRequest

_METADATA = "metadata/"
_TARGETS = "targets/"

# What each failure of the workflow means, in the words of the attack that it stops; the first that fits.
_ATTACKS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.UnsignedMetadataError, "forged: not signed by the keys that this device trusts"),
    (exceptions.ExpiredMetadataError, "frozen: its signatures have expired"),
    (exceptions.BadVersionNumberError, "rolled back or mixed: versions do not follow one another"),
    (exceptions.LengthOrHashMismatchError, "mixed or tampered with: its files do not belong together"),
    (exceptions.DownloadLengthMismatchError, "endless data: a file is longer than was signed"),
    (DeserializationError, "malformed: a file is not metadata"),
    (exceptions.DownloadHTTPError, "incomplete: a file is withheld"),
)


class RepositoryFetcher(FetcherInterface):
    """Gives the client what ``fetch`` returns for a path, and says "not found" where it returns None."""

    def __init__(self, fetch: Callable[[str], bytes | None]) -> None:
        self._fetch_path = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._fetch_path(url)
        if data is None:
            raise exceptions.DownloadHTTPError(f"there is no {url}", 404)
        return iter((data,))


class _DurableUpdater(Updater):
    """The client with a disk that keeps what it was given, and with our clock.

    The client writes without fsync: after a loss of power its files would be empty, and with them the memory of the
    newest versions seen, which is what stops a rollback.
    """

    def __init__(self, directory: Path, fetcher: FetcherInterface, *, trust_root: bytes, now: datetime) -> None:
        # Without delegations a manifest is named in the top-level targets or nowhere.
        config = UpdaterConfig(max_delegations=0)
        super().__init__(str(directory), _METADATA, fetcher=fetcher, config=config, bootstrap=trust_root)
        self._trusted_set.reference_time = now

    def _persist_file(self, filename: str, data: bytes) -> None:
        path = Path(filename)
        make_directory(path.parent)
        write_durably(path, data)


def prove(request: ProofRequest, fetch: Callable[[str], bytes | None]) -> bytes:
    """The bytes of the manifest, proven by the repository to be the ones that the orchestrator asks for.

    Args:
        request: What is to be proven; the orchestrator and the repository must agree on it.
        fetch: Returns a file of the repository, None where there is none. What it raises passes through.

    Raises:
        SignatureRefusedError: The repository does not prove it; the message names the attack.
        NoSpaceError: The disk is full.
        ConfigurationError: The metadata cannot be kept.
    """
    try:
        trust_root = request.trust_root.read_bytes()
    except OSError as error:
        raise SignatureRefusedError(
            f"this device has no root of trust: {request.trust_root}: {error.strerror}", hint="join the fleet again"
        ) from error
    interruption: list[Exception] = []

    def remembered(wanted: str) -> bytes | None:
        try:
            return fetch(wanted)
        except Exception as error:
            # The client wraps what a fetcher raises; we want it back as it was.
            interruption.append(error)
            raise

    fetcher = RepositoryFetcher(remembered)
    make_directory(request.directory)
    try:
        updater = _DurableUpdater(request.directory, fetcher, trust_root=trust_root, now=request.now)
        updater.refresh()
        target = updater.get_targetinfo(request.path)
        if target is None:
            raise SignatureRefusedError(f"the release repository does not know {request.path}")
        if target.hashes.get("sha256") != request.sha256:
            raise SignatureRefusedError(
                f"the orchestrator asks for another {request.path} ({request.sha256[:12]}…) "
                "than the release repository proves"
            )
        return _download(target, fetcher)
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        if interruption:
            raise interruption[0] from error
        _refuse(error)
    except OSError as error:
        raise storage_error(error, request.directory) from error


def _download(target: TargetFile, fetcher: FetcherInterface) -> bytes:
    if target.length > MAXIMUM_MANIFEST_BYTES:
        raise SignatureRefusedError(f"{target.path} has {target.length} bytes, too many for a manifest")
    # Consistent snapshots: the file's name begins with its hash.
    folder, separator, name = target.path.rpartition("/")
    data = fetcher.download_bytes(
        f"{_TARGETS}{folder}{separator}{target.hashes['sha256']}.{name}", max_length=target.length
    )
    target.verify_length_and_hashes(data)
    return data


def _refuse(error: Exception) -> NoReturn:
    attack = next((words for kind, words in _ATTACKS if isinstance(error, kind)), "inconsistent")
    raise SignatureRefusedError(f"the release repository is {attack} ({error})") from error
