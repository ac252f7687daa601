"""The state of an orchestrator that does not run, read by having its API answer for a moment.

Nothing goes on meanwhile: no search is taken up, no device is listened to, nothing is signed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from orchestrator.app import running
from orchestrator.clock import utc_now
from orchestrator.config import Config
from orchestrator.data_directory import DataDirectory, Endpoints
from orchestrator.execution.ray_engine import RayEngine


@contextmanager
def resting_state(data_dir: Path) -> Iterator[Endpoints]:
    """Where the API answers until the context is left; only this computer reaches it, and nobody is told.

    Raises:
        ConflictError: An orchestrator runs on the data directory.
        OperationError: State cannot be read.
    """
    config = Config(data_dir=data_dir, host="127.0.0.1", public_port=0, device_port=0)
    endpoints: Future[Endpoints] = Future()
    done = threading.Event()

    async def answer() -> None:
        try:
            engine = RayEngine(address=None, cpus=None)
            async with running(config, engine=engine, clock=utc_now, reading_only=True) as orchestrator:
                endpoints.set_result(orchestrator.endpoints)
                await asyncio.to_thread(done.wait)
        except BaseException as error:
            # Whoever waits for the endpoints must hear of it; afterwards it is this thread's own.
            if endpoints.done():
                raise
            endpoints.set_exception(error)

    with DataDirectory(config.layout):
        thread = threading.Thread(target=lambda: asyncio.run(answer()), name="resting state", daemon=True)
        thread.start()
        try:
            yield endpoints.result()
        finally:
            done.set()
            thread.join()
