"""Where an orchestrator is and how to speak to it: from arguments, the environment, or a local data directory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.config import Layout, default_data_dir
from orchestrator.data_directory import read_endpoints
from orchestrator.errors import InvalidInputError, UnauthenticatedError, UnavailableError

_START = "start one with 'fleetfit up', or name one with --server or FLEETFIT_SERVER"
_GIVE_CA = "give the server's certificate authority (PEM) with --ca or FLEETFIT_CA"
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
    ca = ca or environment.get("FLEETFIT_CA")
    directory = Path(data_dir) if data_dir is not None else default_data_dir()
    if not address:
        endpoints = read_endpoints(Layout(root=directory))
        if endpoints is None:
            raise UnavailableError(f"no orchestrator runs in {directory}", hint=_START)
        address = endpoints.public_address
        ca = ca or endpoints.ca_path
    elif not ca:
        ca = _local_ca(directory, address)
    certificate = _certificate(ca)
    return Endpoint(
        address=_dialable(address),
        ca_certificate=certificate,
        token=(token or _local_token(directory)).strip(),
        ca_source=os.fspath(ca),
    )


def _local_ca(directory: Path, address: str) -> str:
    endpoints = read_endpoints(Layout(root=directory))
    if endpoints is None:
        raise InvalidInputError(f"the certificate authority of the server at {address} is not known", hint=_GIVE_CA)
    return endpoints.ca_path


def _local_token(directory: Path) -> str:
    path = Layout(root=directory).operator_token
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnauthenticatedError(
            f"there is no token: {path} cannot be read", hint="give one with --token-file or FLEETFIT_TOKEN"
        ) from error


def _certificate(path: str | os.PathLike[str]) -> bytes:
    try:
        certificate = Path(path).read_bytes()
    except OSError as error:
        message = f"the certificate authority {os.fspath(path)} cannot be read: {error.strerror}"
        raise InvalidInputError(message, hint=_GIVE_CA) from error
    if b"BEGIN CERTIFICATE" not in certificate:
        raise InvalidInputError(f"{os.fspath(path)} holds no certificate in PEM form", hint=_GIVE_CA)
    return certificate


def _dialable(address: str) -> str:
    """The address with a host that can be dialled, and checked for a port.

    Raises:
        InvalidInputError: There is no port.
    """
    host, separator, port = address.strip().rpartition(":")
    if not separator or not port.isdigit():
        raise InvalidInputError(f"'{address}' is not HOST:PORT", hint="for example 192.168.1.10:7443")
    return f"{_LOOPBACK.get(host, host)}:{port}"
