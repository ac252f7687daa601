"""The agent's TUF client in a thread: the same proof as in a process of its own, without the time to start one."""

from __future__ import annotations

import asyncio
import concurrent.futures

from agent.errors import UnreachableError
from agent.update import metadata
from agent.update.proof import Fetch, ProofRequest


async def prove_in_thread(request: ProofRequest, fetch: Fetch) -> bytes:
    """What ``agent.update.proof.prove_apart`` does; cancelled, it waits for the thread."""
    loop = asyncio.get_running_loop()
    pending: list[concurrent.futures.Future[bytes | None]] = []

    def blocking_fetch(path: str) -> bytes | None:
        pending[:] = [asyncio.run_coroutine_threadsafe(_awaited(fetch, path), loop)]
        try:
            return pending[0].result()
        except concurrent.futures.CancelledError as error:
            raise UnreachableError("called off") from error

    thread = asyncio.ensure_future(asyncio.to_thread(metadata.prove, request, blocking_fetch))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        for future in pending:
            future.cancel()
        await asyncio.wait({thread})
        thread.exception()
        raise


async def _awaited(fetch: Fetch, path: str) -> bytes | None:
    return await fetch(path)
