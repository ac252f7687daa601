"""The database: transactions, one at a time on SQLite, many on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from orchestrator.errors import UnavailableError
from orchestrator.storage.database_errors import describe, is_transient, translate
from orchestrator.storage.engine import open_engine
from orchestrator.storage.migration import upgrade
from orchestrator.storage.transaction import Transaction

T = TypeVar("T")

_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.01


class Database:
    """Runs transactions. Safe to use from any thread and from any asyncio loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        single = engine.dialect.name == "sqlite"
        # SQLite has one writer. Waiting for it here is fair and quick; its own waiting polls.
        self._turn: AbstractContextManager[object] = threading.Lock() if single else nullcontext()
        self._workers = ThreadPoolExecutor(max_workers=1 if single else 8, thread_name_prefix="fleetfit-database")
        self._inside = threading.local()
        self._closed = False

    @classmethod
    def open(cls, url: str) -> Database:
        """The database at ``url``, brought up to date.

        Args:
            url: ``sqlite:////folder/file.db``, which is made where it does not exist, or ``postgresql://…``.

        Raises:
            ConflictError: It was written by a newer fleetfit (reason ``DATABASE_NEWER``).
            InvalidInputError: The address is not one of a database that fleetfit knows, or its folder does not exist.
            OperationError: It is not a database, or cannot be written.
            UnavailableError: It cannot be reached.
        """
        engine = open_engine(url)
        try:
            upgrade(engine)
        except StatementError as error:
            engine.dispose()
            raise translate(error, engine.url) from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` in one transaction, in a worker thread; see ``run_blocking``.

        A caller that is cancelled while it waits does not learn whether the transaction was committed.
        """
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._workers, self.run_blocking, work)

    def run_blocking(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` in one transaction: committed when it returns, rolled back when it raises.

        When this returns, what was written survives the loss of power. Transactions behave as if they ran one after
        the other. On PostgreSQL ``work`` is called again where another transaction got in its way, so it must do
        nothing but read and write through its transaction.

        Returns:
            What ``work`` returned.

        Raises:
            FleetfitError: What ``work`` raised, or what the database had to say.
            RuntimeError: It was called from within another transaction's work.
        """
        self._check_open()
        if getattr(self._inside, "transaction", False):
            raise RuntimeError("a transaction cannot begin inside another one")
        attempt = 1
        while True:
            try:
                return self._run_once(work)
            except PoolTimeoutError as error:
                message = f"too many transactions wait for the database {describe(self._engine.url)}"
                raise UnavailableError(message, hint="try again", reason="DATABASE_BUSY") from error
            except StatementError as error:
                if not is_transient(error) or attempt == _ATTEMPTS:
                    raise translate(error, self._engine.url) from error
            time.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**attempt))  # noqa: S311 - spreads out retries, no secret
            attempt += 1

    def close(self) -> None:
        """Waits for transactions that have begun, and closes. May be repeated."""
        self._closed = True
        self._workers.shutdown(wait=True)
        with self._turn:
            self._engine.dispose()

    def _run_once(self, work: Callable[[Transaction], T]) -> T:
        self._inside.transaction = True
        try:
            with self._turn, self._engine.begin() as connection:
                return work(Transaction(connection))
        finally:
            self._inside.transaction = False

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError(f"the database {describe(self._engine.url)} is closed")
