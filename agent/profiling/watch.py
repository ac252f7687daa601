"""Watches the machine while a model is timed: contention, the reference, the clock, throttling, stolen time."""

from __future__ import annotations

import time

from agent.profiling.contention import ContentionMonitor
from agent.profiling.host import Host, StolenTime
from agent.profiling.quality import Observations
from agent.profiling.reference import Reference


class RunWatch:
    """One timed run, watched from its beginning. Between windows it may take its time; within, it is brief."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._monitor = ContentionMonitor(host, time.perf_counter_ns())
        self._reference = Reference()
        self._stolen_before = host.stolen_time()
        self._thermal_events_before = host.throttling().event_count
        self._clock_fractions: list[float] = []

    def begin_window(self) -> None:
        """What happened between the windows does not count."""
        self._monitor.restart(time.perf_counter_ns())

    def end_bucket(self, now_ns: int) -> None:
        """Notes what happened since the last bucket ended."""
        self._monitor.end_bucket(now_ns)

    def end_window(self) -> None:
        """Reads the clock while the processor is still busy, and times the reference."""
        fraction = self._host.clock_fraction()
        if fraction is not None:
            self._clock_fractions.append(fraction)
        self._reference.time()

    def observations(self, *, steady_state: bool, drift_fraction: float, complete: bool) -> Observations:
        """Everything that was seen, with what the run itself showed."""
        throttling = self._host.throttling()
        reasons = list(throttling.active)
        thermal_events = throttling.event_count - self._thermal_events_before
        if thermal_events > 0:
            reasons.append(f"{thermal_events} thermal events")
        return Observations(
            steady_state=steady_state,
            contaminated_fraction=self._monitor.contaminated_fraction(),
            reference_shift_fraction=self._reference.shift_fraction(),
            drift_fraction=drift_fraction,
            stolen_fraction=_stolen_fraction(self._stolen_before, self._host.stolen_time()),
            clock_fraction=min(self._clock_fractions, default=None),
            throttling=tuple(reasons),
            complete=complete,
        )


def _stolen_fraction(before: StolenTime | None, after: StolenTime | None) -> float:
    if before is None or after is None or after.total_ticks <= before.total_ticks:
        return 0.0
    return (after.stolen_ticks - before.stolen_ticks) / (after.total_ticks - before.total_ticks)
