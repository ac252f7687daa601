"""Where an orchestrator is and how to speak to it: from arguments, the environment, or a local data directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import InvalidInputError, UnauthenticatedError, UnavailableError

_START = "start one with 'fleetfit up', or name one with --server or FLEETFIT_SERVER"
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One orchestrator, the authority that its certificate must come from, and the caller's token."""

    # "host:port".
    address: str
    # PEM.
    ca_certificate: bytes
    token: str = field(repr=False)
    # Where the authority's certificate was read, for messages.
    ca_source: str


def default_data_dir() -> Path:
    """The directory of a local orchestrator: ``FLEETFIT_DATA_DIR``, or the user's data directory."""
    # Imported here because a client that is told the address does without it.
    from platformdirs import user_data_path

    given = os.environ.get("FLEETFIT_DATA_DIR")
    return Path(given) if given else user_data_path("fleetfit")


def find_endpoint(
    *,
    address: str | None = None,
    token: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Endpoint:
    """The endpoint that is meant: each part from the argument, else the environment, else the data directory.

    ``ca`` is the path of the authority's certificate. An explicit ``data_dir`` goes before the environment.

    Raises:
        UnavailableError: Nothing names a server.
        UnauthenticatedError: There is no token.
        InvalidInputError: A file that was named cannot be read, or says nothing that makes sense.
    """
    environment = {} if data_dir is not None else os.environ
    address = address or environment.get("FLEETFIT_SERVER")
    token = token or environment.get("FLEETFIT_TOKEN")
    ca_path = ca or environment.get("FLEETFIT_CA")
    directory = Path(data_dir) if data_dir is not None else None
    if not (address and token and ca_path):
        directory = directory or default_data_dir()
    if not address:
        address, ca_path = _local(directory or default_data_dir(), ca_path)
    if not ca_path:
        # A server elsewhere, named by its address alone, may still be the one of this data directory.
        ca_path = _local(directory or default_data_dir(), None)[1]
    if not token:
        token = _local_token(directory or default_data_dir())
    try:
        certificate = Path(ca_path).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"the certificate authority {os.fspath(ca_path)} cannot be read: {error.strerror}",
            hint="give the server's certificate authority (PEM) with --ca or FLEETFIT_CA",
        ) from error
    if b"BEGIN CERTIFICATE" not in certificate:
        raise InvalidInputError(
            f"{os.fspath(ca_path)} holds no certificate in PEM form",
            hint="give the server's certificate authority with --ca or FLEETFIT_CA",
        )
    return Endpoint(
        address=_dialable(address), ca_certificate=certificate, token=token.strip(), ca_source=os.fspath(ca_path)
    )


def _local(directory: Path, ca_path: str | os.PathLike[str] | None) -> tuple[str, str | os.PathLike[str]]:
    path = directory / "endpoint.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return str(found["public_address"]), ca_path or str(found["ca_path"])
    except FileNotFoundError as error:
        raise UnavailableError(f"no orchestrator runs in {directory}", hint=_START) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} cannot be used: {error}", hint=_START) from error


def _local_token(directory: Path) -> str:
    path = directory / "operator-token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UnauthenticatedError(
            f"there is no token: {path} cannot be read", hint="give one with --token-file or FLEETFIT_TOKEN"
        ) from error


def _dialable(address: str) -> str:
    """The address with a host that can be dialled, and checked for a port.

    Raises:
        InvalidInputError: There is no port.
    """
    host, separator, port = address.strip().rpartition(":")
    if not separator or not port.isdigit():
        raise InvalidInputError(f"'{address}' is not HOST:PORT", hint="for example 192.168.1.10:7443")
    return f"{_LOOPBACK.get(host, host)}:{port}"
