"""Reads a meter over and over in a thread of the agent, while the worker runs its blocks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from agent.meters.meter import Reading, SampledMeter

_EVEN_FROM_HZ = 50.0
_LEAST_JITTER, _MOST_JITTER = 0.5, 1.5


def intervals_s(rate_hz: float, generator: random.Random) -> Iterator[float]:
    """The times between readings, without end: even for a fast meter, uneven for a slow one.

    A slow period that is near a multiple of the inference would always meet the same part of it, and be wrong however
    long it goes on.
    """
    interval_s = 1 / rate_hz
    while True:
        jitter = 1.0 if rate_hz >= _EVEN_FROM_HZ else generator.uniform(_LEAST_JITTER, _MOST_JITTER)
        yield interval_s * jitter


class Sampler:
    """Readings of one meter from ``start`` to ``stop``."""

    def __init__(self, meter: SampledMeter) -> None:
        self._meter = meter
        self._readings: list[Reading] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleetfit-meter", daemon=True)
        # Not for secrets; and it need not be repeatable, only uneven.
        self._random = random.Random()  # noqa: S311

    def start(self) -> None:
        """Opens the meter and begins to read.

        Raises:
            OSError: The meter cannot be opened.
        """
        self._meter.open()
        self._thread.start()

    def stop(self) -> Sequence[Reading]:
        """Ends the thread, closes the meter, and returns what was read; a second call returns the same."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            # Whatever the interval would have been: the last block must not end after the last reading.
            self._read()
        self._meter.close()
        return self._readings

    def _read(self) -> None:
        # A sensor that does not answer now leaves a gap, and gaps are counted.
        with suppress(OSError, ValueError):
            self._readings.append(self._meter.read())

    def _run(self) -> None:
        due_s = time.monotonic()
        for interval_s in intervals_s(self._meter.rate_hz, self._random):
            self._read()
            now_s = time.monotonic()
            due_s = max(due_s + interval_s, now_s)
            if self._stopping.wait(due_s - now_s):
                return
