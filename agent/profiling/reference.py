"""A computation of known work, timed between the parts of a run: when it moves, the machine did, not the model."""

from __future__ import annotations

import hashlib
import statistics
import time

_BLOCK = bytes(range(256)) * 64
_REPETITIONS = 25


class Reference:
    """Hashes the same 16 KiB; its first timing is what the later ones are compared with."""

    def __init__(self) -> None:
        self._timings_ns = [_time_ns()]

    def time(self) -> None:
        """Times it once more."""
        self._timings_ns.append(_time_ns())

    def shift_fraction(self) -> float:
        """The change from the first timing to the one that is farthest from it; positive means slower."""
        first, *later = self._timings_ns
        return max((timing / first - 1 for timing in later), key=abs, default=0.0)


def _time_ns() -> float:
    clock = time.perf_counter_ns
    timings = []
    for _ in range(_REPETITIONS):
        begin = clock()
        hashlib.sha256(_BLOCK).digest()
        timings.append(clock() - begin)
    return statistics.median(timings)
