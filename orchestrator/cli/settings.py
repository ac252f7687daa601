"""What the options that every command takes say, and the client that follows from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.cli.output import tell
from orchestrator.client import Client
from orchestrator.config import Layout, default_data_dir
from orchestrator.errors import InvalidInputError, UnavailableError


@dataclass(kw_only=True)
class Settings:
    """Filled in while the command line is parsed, read by the command."""

    server: str | None = None
    token_file: str | None = None
    ca: str | None = None
    data_dir: Path | None = None
    output: str = "table"
    debug: bool = False

    @property
    def as_json(self) -> bool:
        """Whether stdout is for a program."""
        return self.output == "json"

    @property
    def local_data_dir(self) -> Path:
        """The directory of the local orchestrator that is meant."""
        return self.data_dir or default_data_dir()

    def connect(self) -> Client:
        """A client of the server that is meant.

        Raises:
            FleetfitError: None is named, or what was given cannot be used.
        """
        return Client.connect(self.server, _read_token(self.token_file), self.ca, self.data_dir)

    @contextmanager
    def connect_to_read(self) -> Iterator[Client]:
        """A client for a command that only reads: where no orchestrator runs, of the state that the local one left.

        Raises:
            FleetfitError: None is named and none has left state, or what was given cannot be used.
        """
        try:
            client = self.connect()
        except UnavailableError:
            root = self.local_data_dir
            if self.server or os.environ.get("FLEETFIT_SERVER") or not Layout(root=root).database.exists():
                raise
            # Imported late: it brings the whole orchestrator.
            from orchestrator.resting_state import resting_state  # noqa: PLC0415

            tell(f"No orchestrator runs: this is the state that it left in {root}.")
            with (
                resting_state(root) as endpoints,
                Client.connect(endpoints.public_address, ca=endpoints.ca_path, data_dir=root) as client,
            ):
                yield client
        else:
            with client:
                yield client


def current_settings() -> Settings:
    """The settings of the command that runs."""
    return click.get_current_context().ensure_object(Settings)


def _read_token(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        token = sys.stdin.readline() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the token file {path} cannot be read: {error}") from error
    if not token.strip():
        raise InvalidInputError(f"the token file {path} is empty")
    return token.strip()
