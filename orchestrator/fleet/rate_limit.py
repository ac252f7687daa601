"""Limits on how often: a token bucket, and a bounded set of them by who asks."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """Allows ``burst`` at once, and ``per_second`` in the long run.

    Args:
        per_second: Rate in the long run.
        burst: How many at once, after a rest.
        monotonic: A clock that never goes back, in seconds.
    """

    __slots__ = ("_burst", "_left", "_monotonic", "_per_second", "_updated_s")

    def __init__(self, *, per_second: float, burst: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._monotonic = monotonic
        self._left = float(burst)
        self._updated_s = monotonic()

    def allows(self) -> bool:
        """Whether one more is allowed now; if so, it is counted."""
        self._refill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Takes one off the count again."""
        self._left = min(self._burst, self._left + 1)

    def delay_s(self) -> float:
        """Counts one more, and says how long to wait before it, so that the rate holds."""
        self._refill()
        self._left -= 1
        return max(0.0, -self._left / self._per_second)

    def _refill(self) -> None:
        now_s = self._monotonic()
        self._left = min(self._burst, self._left + (now_s - self._updated_s) * self._per_second)
        self._updated_s = now_s


class RateLimits:
    """A limit for each key. Of very many keys the ones that were quiet the longest are forgotten."""

    def __init__(self, make: Callable[[], RateLimit], *, capacity: int = 10_000) -> None:
        self._make = make
        self._capacity = capacity
        self._limits: OrderedDict[str, RateLimit] = OrderedDict()

    def allows(self, key: str) -> bool:
        """Whether ``key`` may do it once more now; if so, it is counted."""
        return self._limit(key).allows()

    def give_back(self, key: str) -> None:
        """Takes one off the count of ``key`` again."""
        self._limit(key).give_back()

    def _limit(self, key: str) -> RateLimit:
        limit = self._limits.pop(key, None) or self._make()
        self._limits[key] = limit
        if len(self._limits) > self._capacity:
            self._limits.popitem(last=False)
        return limit
