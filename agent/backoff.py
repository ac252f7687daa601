"""How long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Doubling waits with full jitter: a fleet that lost its orchestrator does not come back in one instant.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (the variant "full jitter").

    Args:
        initial_s: Upper bound of the first wait.
        maximum_s: Upper bound of every wait.
        random_source: Where the jitter comes from.
    """

    def __init__(
        self, *, initial_s: float = 0.5, maximum_s: float = 60.0, random_source: random.Random | None = None
    ) -> None:
        self._initial_s = initial_s
        self._maximum_s = maximum_s
        # Jitter is no secret.
        self._random = random_source or random.Random()  # noqa: S311
        self._bound_s = initial_s

    def next_s(self) -> float:
        """The next wait: anything between zero and a bound that doubles with each call."""
        bound_s = self._bound_s
        self._bound_s = min(self._maximum_s, bound_s * 2)
        return self._random.uniform(0, bound_s)

    def reset(self) -> None:
        """Starts over: the last try went well."""
        self._bound_s = self._initial_s
