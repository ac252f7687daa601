from __future__ import annotations

import random

from agent.backoff import Backoff


class Highest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_bound_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(initial_s=0.5, maximum_s=60, random_source=Highest())
    assert [backoff.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_after_a_good_try_it_starts_over() -> None:
    backoff = Backoff(initial_s=0.5, maximum_s=60, random_source=Highest())
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_the_jitter_is_full() -> None:
    """Waits of a thousand devices cover the whole range evenly."""
    random_source = random.Random(7)  # noqa: S311
    waits = [Backoff(initial_s=1.0, random_source=random_source).next_s() for _ in range(1000)]
    counts = [sum(low <= wait < low + 0.25 for wait in waits) for low in (0, 0.25, 0.5, 0.75)]
    assert all(200 < count < 300 for count in counts)
