"""Blocking work in a thread that is never left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_to_end(work: Callable[[], T]) -> T:
    """What ``work`` returns, or raises.

    A thread cannot be cancelled. When the caller is, this waits for the thread's end before it passes the cancellation
    on: two threads never write to the same files.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        while not thread.done():
            # Cancelled twice: the thread is still not left behind.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({thread})
        # What came of it concerns nobody; looked at, so that asyncio does not complain.
        thread.exception()
        raise
