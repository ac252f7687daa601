"""Whether the worker had the processor to itself: asked ten times a second, between two inferences."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.profiling.host import Host

BUCKET_NS = 100_000_000
_SCHEDULING = Path("/proc/self/schedstat")
# The worker's own wait is what a neighbour costs it. A few percent are an idle system's housekeeping.
_HIGHEST_WAIT_FRACTION = 0.05
# All tasks of the machine together: so much means a neighbour that is really at work, whoever it is that waits.
_HIGHEST_PRESSURE_FRACTION = 0.20
# Where the kernel does not tell the wait, the same two are asked more strictly. Most preemptions last microseconds.
_HIGHEST_LONE_PRESSURE_FRACTION = 0.05
_MOST_LONE_PREEMPTIONS_PER_SECOND = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What counts up while the worker runs; None where the kernel does not tell."""

    time_ns: int
    preemptions: int
    major_faults: int
    waited_ns: int | None
    pressure_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A stretch of the run, between two readings of the counters."""

    before: Counters
    after: Counters

    @property
    def duration_ns(self) -> int:
        """How long it is."""
        return self.after.time_ns - self.before.time_ns

    @property
    def contaminated(self) -> bool:
        """Whether something else ran where the model should have."""
        if self.after.major_faults > self.before.major_faults:
            return True
        duration_s = self.duration_ns / 1e9
        pressure_us = _difference(self.before.pressure_us, self.after.pressure_us) or 0
        waited_ns = _difference(self.before.waited_ns, self.after.waited_ns)
        if waited_ns is not None:
            return (
                waited_ns > _HIGHEST_WAIT_FRACTION * self.duration_ns
                or pressure_us / 1e6 > _HIGHEST_PRESSURE_FRACTION * duration_s
            )
        preemptions = self.after.preemptions - self.before.preemptions
        return (
            pressure_us / 1e6 > _HIGHEST_LONE_PRESSURE_FRACTION * duration_s
            or preemptions > _MOST_LONE_PREEMPTIONS_PER_SECOND * duration_s
        )


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
        """Ends the present bucket and begins the next; nothing happens where no time has passed."""
        if now_ns > self._last.time_ns:
            now = self._read(now_ns)
            self._buckets.append(Bucket(before=self._last, after=now))
            self._last = now

    def contaminated_fraction(self) -> float:
        """The share of the run's time that lies in contaminated buckets."""
        total_ns = sum(bucket.duration_ns for bucket in self._buckets)
        contaminated_ns = sum(bucket.duration_ns for bucket in self._buckets if bucket.contaminated)
        return contaminated_ns / total_ns if total_ns else 0.0

    def _read(self, now_ns: int) -> Counters:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Counters(
            time_ns=now_ns,
            preemptions=usage.ru_nivcsw,
            major_faults=usage.ru_majflt,
            waited_ns=_waited_ns(),
            pressure_us=self._host.pressure_us(),
        )


def _waited_ns() -> int | None:
    """How long the worker's main thread was ready to run and did not."""
    with suppress(OSError, ValueError, IndexError):
        ran_ns, waited_ns = (int(word) for word in _SCHEDULING.read_text().split()[:2])
        # A kernel that does not count shows zeros.
        return waited_ns if ran_ns else None
    return None


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
