"""What an operator can set, and where the orchestrator keeps what it must not lose."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

DEFAULT_PUBLIC_PORT = 7443
DEFAULT_DEVICE_PORT = 7444


def default_data_dir() -> Path:
    """``$FLEETFIT_DATA_DIR``, else the user's own data directory (XDG)."""
    chosen = os.environ.get("FLEETFIT_DATA_DIR")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("fleetfit", appauthor=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one orchestrator. The defaults need nothing but a writable home directory."""

    data_dir: Path = field(default_factory=default_data_dir)
    # Address to listen on. The default is reachable from this machine only.
    host: str = "127.0.0.1"
    # 0: a free one.
    public_port: int = DEFAULT_PUBLIC_PORT
    device_port: int = DEFAULT_DEVICE_PORT
    # Names or addresses by which others reach this machine; they go into the server's certificate.
    advertise: tuple[str, ...] = ()
    # Empty: SQLite in the data directory.
    database_url: str = ""
    # Empty: a folder in the data directory.
    artifacts_url: str = ""
    # None: a Ray of this orchestrator's own, on this machine.
    ray_address: str | None = None
    # How many compression tasks run at once; None: as many as Ray's cores allow.
    workers: int | None = None

    @property
    def layout(self) -> Layout:
        """Where things lie in the data directory."""
        return Layout(root=self.data_dir)

    @property
    def database(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite:///{self.layout.database}"

    @property
    def artifacts(self) -> str:
        """URL or folder of the blob store."""
        return self.artifacts_url or str(self.layout.artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The files of one data directory."""

    root: Path

    @property
    def authority(self) -> Path:
        """The certificate authority, and the server's own certificate."""
        return self.root / "authority"

    @property
    def ca_certificate(self) -> Path:
        """What clients on this machine verify the server by."""
        return self.authority / "ca.pem"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "fleetfit.db"

    @property
    def artifacts(self) -> Path:
        """Blobs by SHA-256."""
        return self.root / "artifacts"

    @property
    def repository(self) -> Path:
        """The release repository (TUF): a tree of static files."""
        return self.root / "repository"

    @property
    def keys(self) -> Path:
        """The keys that sign releases."""
        return self.root / "keys"

    @property
    def operator_token(self) -> Path:
        """The administrator's API token of the first start, readable by its owner only."""
        return self.root / "operator-token"

    @property
    def endpoint(self) -> Path:
        """Where a running orchestrator can be reached; absent while none runs."""
        return self.root / "endpoint.json"

    @property
    def lock(self) -> Path:
        """Held by the one orchestrator that may use this directory."""
        return self.root / "lock"
