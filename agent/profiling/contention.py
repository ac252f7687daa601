"""Whether the worker had the processor to itself: asked ten times a second, between two inferences."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from agent.profiling.host import Host

BUCKET_NS = 100_000_000
# One or two are the kernel's own housekeeping; a neighbour that wants the processor causes dozens.
_MOST_PREEMPTIONS_PER_SECOND = 40.0
_HIGHEST_PRESSURE_FRACTION = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A stretch of the run, and what disturbed it."""

    duration_ns: int
    preemptions: int
    major_faults: int
    pressure_us: int | None

    @property
    def contaminated(self) -> bool:
        """Whether something else ran where the model should have."""
        duration_s = self.duration_ns / 1e9
        pressed = self.pressure_us is not None and self.pressure_us / 1e6 > _HIGHEST_PRESSURE_FRACTION * duration_s
        return pressed or self.major_faults > 0 or self.preemptions > _MOST_PREEMPTIONS_PER_SECOND * duration_s


class ContentionMonitor:
    """Collects buckets; each call costs some ten microseconds, outside what is timed."""

    def __init__(self, host: Host, now_ns: int) -> None:
        self._host = host
        self._buckets: list[Bucket] = []
        self._last = self._read(now_ns)

    def restart(self, now_ns: int) -> None:
        """Begins a new bucket; what happened since the last one does not count."""
        self._last = self._read(now_ns)

    def end_bucket(self, now_ns: int) -> None:
        """Ends the present bucket and begins the next."""
        now = self._read(now_ns)
        before_ns, preemptions, faults, pressure_us = self._last
        self._buckets.append(
            Bucket(
                duration_ns=now_ns - before_ns,
                preemptions=now[1] - preemptions,
                major_faults=now[2] - faults,
                pressure_us=None if now[3] is None or pressure_us is None else now[3] - pressure_us,
            )
        )
        self._last = now

    def contaminated_fraction(self) -> float:
        """The share of the run's time that lies in contaminated buckets."""
        total_ns = sum(bucket.duration_ns for bucket in self._buckets)
        contaminated_ns = sum(bucket.duration_ns for bucket in self._buckets if bucket.contaminated)
        return contaminated_ns / total_ns if total_ns else 0.0

    def _read(self, now_ns: int) -> tuple[int, int, int, int | None]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return now_ns, usage.ru_nivcsw, usage.ru_majflt, self._host.pressure_us()
