"""A PostgreSQL server of one's own, from Debian's package, for the time of a test session."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

_BIN = Path("/usr/lib/postgresql/15/bin")
_SERVICE_USERS = ("postgres", "nobody")


class PostgresServer:
    """Listens on a loopback port; keeps everything in a folder that goes with it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fleetfit-postgres-"))
        self._user = _unprivileged_user()
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        self._execute("initdb", "-D", data, "-U", "fleetfit", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self._port = _free_port()
        self._data = data
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c max_connections=64 -F"
        self._execute("pg_ctl", "-D", data, "-l", self._folder / "log", "-o", options, "-w", "-t", "60", "start")

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"fleetfit_{uuid.uuid4().hex}"
        self._execute("createdb", "-h", "127.0.0.1", "-p", self._port, "-U", "fleetfit", name)
        return f"postgresql+psycopg://fleetfit@127.0.0.1:{self._port}/{name}"

    def stop(self) -> None:
        self._execute("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    def _execute(self, program: str, *arguments: object) -> None:
        # Not a pipe: the server inherits it, and a reader would wait for the server to end.
        with (self._folder / "output").open("a") as output:
            subprocess.run(
                [str(_BIN / program), *map(str, arguments)],
                cwd=self._folder,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(self._folder), "LC_ALL": "C"},
                user=self._user,
                timeout=120,
            )


@functools.cache
def _started() -> PostgresServer:
    server = PostgresServer()
    atexit.register(server.stop)
    return server


def new_postgres_database() -> str:
    """The URL of an empty database on the session's server, or a skip that says what is missing."""
    if not (_BIN / "postgres").exists():
        pytest.skip(f"no PostgreSQL at {_BIN}: apt install postgresql-15")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver for PostgreSQL: pip install 'fleetfit[postgres]'")
    if os.geteuid() == 0 and _unprivileged_user() is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user to run it as")
    return _started().new_database()


def _unprivileged_user() -> str | None:
    """Who shall run the server; None: whoever runs the tests, or nobody where that is root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((user for user in _SERVICE_USERS if user in known), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
