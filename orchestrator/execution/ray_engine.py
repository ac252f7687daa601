"""The engine on Ray: embedded in this process, or an existing cluster by its address."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from orchestrator.errors import OperationError
from orchestrator.execution.engine import Engine
from orchestrator.execution.tasks import Task

if TYPE_CHECKING:
    from orchestrator.execution.ray_session import RaySession

ResultT = TypeVar("ResultT")


class RayEngine(Engine):
    """Runs each task as one Ray task. Ray is started with the first of them, because that takes seconds and memory.

    Args:
        address: Of an existing cluster, ``host:port`` or ``auto``; None: a Ray of its own, gone with this process.
        cpus: How many tasks the embedded Ray runs at once; None: one for each core that this process may use.
        temp_dir: Where the embedded Ray keeps its sockets and logs; None: a short-lived directory of its own. Sockets
            limit how long its path may be.
    """

    def __init__(self, *, address: str | None = None, cpus: int | None = None, temp_dir: Path | None = None) -> None:
        self._address = address
        self._cpus = cpus or len(os.sched_getaffinity(0))
        self._temp_dir = temp_dir
        self._starting = asyncio.Lock()
        self._session: RaySession | None = None
        self._held_by: threading.Thread | None = None
        self._release = threading.Event()
        self._posting: asyncio.Task[None] | None = None
        self._listeners: dict[str, Callable[[str], None]] = {}
        self._closed = False
        # gRPC reads it once, when its first channel or server is made: long before the first search. Without it, each
        # process that Ray starts makes gRPC complain on the terminal.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

    @property
    def slots(self) -> int:
        """Cores of the embedded Ray; of a cluster, those that it has now, and 1 as long as it was not asked."""
        if self._session is not None:
            return self._session.slots()
        return self._cpus if self._address is None else 1

    async def start(self) -> None:
        """Starts or joins Ray.

        Raises:
            OperationError: Ray did not start.
            UnavailableError: The cluster cannot be reached.
        """
        async with self._starting:
            if self._closed:
                raise OperationError("the engine is closed")
            if self._session is None:
                self._session = await self._open_session()
                self._posting = asyncio.create_task(self._hand_on_progress(self._session))

    async def run(self, task: Task[ResultT], *, on_progress: Callable[[str], None]) -> ResultT:
        """The result of ``task``; see the base class."""
        await self.start()
        session = cast("RaySession", self._session)
        run_id = uuid.uuid4().hex
        self._listeners[run_id] = on_progress
        try:
            return cast(ResultT, await session.perform(run_id, task))
        finally:
            del self._listeners[run_id]

    async def close(self) -> None:
        """Kills what runs, and leaves Ray."""
        async with self._starting:
            self._closed = True
            if self._posting is not None:
                self._posting.cancel()
                with suppress(asyncio.CancelledError):
                    await self._posting
            if self._held_by is not None:
                self._release.set()
                await asyncio.to_thread(self._held_by.join)
            self._session = self._held_by = self._posting = None

    async def _open_session(self) -> RaySession:
        """Starts Ray in a thread that lives as long as Ray does.

        The kernel kills Ray's processes when the thread that made them ends, so it must not be one of a pool. It also
        keeps Ray from taking over this process's signal handlers, which it can only do in the main thread.
        """
        opened: asyncio.Future[RaySession] = asyncio.get_running_loop().create_future()
        self._release.clear()
        self._held_by = threading.Thread(
            target=self._hold, args=(asyncio.get_running_loop(), opened), name="fleetfit-ray", daemon=True
        )
        self._held_by.start()
        try:
            return await opened
        except BaseException:
            self._release.set()
            raise

    def _hold(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[RaySession]) -> None:
        try:
            self._prepare_environment()
            # Ray reads the environment when it is imported. It also costs half a second and 65 MB, and an orchestrator
            # without searches needs none of it.
            from orchestrator.execution import ray_session  # noqa: PLC0415

            session = ray_session.open_session(address=self._address, cpus=self._cpus, temp_dir=self._temp_dir)
        except Exception as error:
            loop.call_soon_threadsafe(_fail, opened, error)
            return
        loop.call_soon_threadsafe(_resolve, opened, session)
        self._release.wait()
        session.close()

    def _prepare_environment(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self._address is None:
            # Ray listens on every interface and runs any code for whoever knows its token. This one dies with us.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

    async def _hand_on_progress(self, session: RaySession) -> None:
        async for lines in session.progress():
            for run_id, line in lines.items():
                listener = self._listeners.get(run_id)
                if listener is not None:
                    listener(line)


def _resolve(future: asyncio.Future[RaySession], session: RaySession) -> None:
    if not future.done():
        future.set_result(session)


def _fail(future: asyncio.Future[RaySession], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
