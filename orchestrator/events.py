"""Wake-up calls inside the orchestrator: "something changed there, look again".

An event carries no state: whoever is woken reads the database. A call that is missed costs a delay, never a fact,
because every waiter also looks again by itself after a while.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Events:
    """Topics that can be waited for. Topics in use: ``device/<id>``, ``job/<id>``, ``search/<id>``, ``rollout/<id>``.

    Belongs to one asyncio loop.
    """

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def publish(self, topic: str) -> None:
        """Wakes everyone who waits for ``topic``."""
        for waiter in self._waiters.get(topic, ()):
            waiter.set()

    def subscribe(self, *topics: str) -> Subscription:
        """A subscription from now on: what is published after this call is not missed."""
        return Subscription(self, topics)

    def _add(self, topic: str, waiter: asyncio.Event) -> None:
        self._waiters[topic].add(waiter)

    def _discard(self, topic: str, waiter: asyncio.Event) -> None:
        self._waiters[topic].discard(waiter)
        if not self._waiters[topic]:
            del self._waiters[topic]


class Subscription:
    """Wakes up once for any number of events since it last woke; a context manager."""

    def __init__(self, events: Events, topics: tuple[str, ...]) -> None:
        self._events = events
        self._topics = topics
        self._waiter = asyncio.Event()
        for topic in topics:
            events._add(topic, self._waiter)

    async def wait(self, timeout_s: float) -> bool:
        """Waits for the next event, at most ``timeout_s``; whether there was one."""
        try:
            await asyncio.wait_for(self._waiter.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiter.clear()
        return True

    def close(self) -> None:
        """Ends the subscription."""
        for topic in self._topics:
            self._events._discard(topic, self._waiter)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
