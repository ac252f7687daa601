"""Streams of snapshots: the whole of something, now and again whenever it changed, until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from orchestrator.events import Events

Message = TypeVar("Message")

# Events wake a watcher; this often it looks by itself.
_LOOK_AGAIN_S = 5.0
# Changes that come in quicker succession are seen together.
_SHORTEST_INTERVAL_S = 0.2


async def watch(
    events: Events, topic: str, snapshot: Callable[[], Awaitable[tuple[Message, bool]]]
) -> AsyncIterator[Message]:
    """Yields what ``snapshot`` returns whenever that has changed, and ends after the one that it calls the last.

    Args:
        events: What wakes the watcher.
        topic: Under which changes are published.
        snapshot: The present, and whether nothing will change any more.
    """
    told: Message | None = None
    with events.subscribe(topic) as subscription:
        while True:
            message, last = await snapshot()
            if message != told:
                yield message
            if last:
                return
            told = message
            await subscription.wait(_LOOK_AGAIN_S)
            await asyncio.sleep(_SHORTEST_INTERVAL_S)
