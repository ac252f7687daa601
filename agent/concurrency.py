"""Waiting for several things, or for a limited time, without ever losing a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_until_first_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Runs all of them until the first ends, then cancels the others and waits for their end.

    Raises:
        Exception: Whatever ended the first.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(*tasks)
    for task in done:
        task.result()


async def within(work: Coroutine[Any, Any, T], *, timeout_s: float | None) -> T:
    """What the work returns, or raises, if it ends in time; otherwise it is cancelled.

    Not ``asyncio.wait_for``: before Python 3.12 that returns as if nothing had happened when it is cancelled in the
    moment in which the work ends, and an agent that was told to stop would go on.

    Raises:
        asyncio.TimeoutError: It took too long.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        late = not task.done()
        await _end(task)
    if late and task.cancelled():
        raise asyncio.TimeoutError
    return task.result()


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels the tasks and waits until they have ended; what came of them is looked at elsewhere."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
