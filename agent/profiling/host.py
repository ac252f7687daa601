"""The state of the machine that a figure holds under: pressure, load, temperature, clock, throttling.

Everything hangs off a root directory, so that a tree of files can stand in for a Raspberry Pi. What a machine does not
tell is None, never a guess.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# A zone without a sensor behind it reads far below zero, or exactly zero.
_LOWEST_PLAUSIBLE_MILLIDEGREES = -40_000

# Bits of the Raspberry Pi firmware's word that hold now; the same bits 16 higher hold since boot.
_RASPBERRY_PI_FLAGS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """What slows the processor down now, and how often it was slowed down so far."""

    active: tuple[str, ...] = ()
    event_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StolenTime:
    """Processor time since boot, in ticks: all of it, and what a hypervisor gave to others."""

    total_ticks: int
    stolen_ticks: int


class Host:
    """Reads the machine's state from ``/proc`` and ``/sys`` under a root."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def pressure_us(self) -> int | None:
        """Microseconds since boot in which at least one task waited for a processor."""
        first_line = self._text("proc/pressure/cpu").partition("\n")[0]
        for word in first_line.split():
            name, _, value = word.partition("=")
            if name == "total" and value.isdigit():
                return int(value)
        return None

    def load_average(self) -> float | None:
        """Tasks that ran or wanted to, averaged over the last minute."""
        with suppress(ValueError, IndexError):
            return float(self._text("proc/loadavg").split()[0])
        return None

    def available_memory_bytes(self) -> int | None:
        """Memory that can be had without swapping."""
        for line in self._text("proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None

    def memory_kill_count(self) -> int | None:
        """How many processes the kernel has killed for want of memory since boot."""
        for line in self._text("proc/vmstat").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return None

    def stolen_time(self) -> StolenTime | None:
        """Processor time so far, and how much of it a hypervisor gave to others."""
        with suppress(ValueError, IndexError):
            ticks = [int(word) for word in self._text("proc/stat").partition("\n")[0].split()[1:]]
            return StolenTime(total_ticks=sum(ticks[:8]), stolen_ticks=ticks[7])
        return None

    def governor(self) -> str:
        """The first processor's frequency governor; empty where there is none."""
        return self._text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()

    def temperature_c(self) -> float | None:
        """The hottest thermal zone."""
        readings = [
            reading
            for zone in self._root.glob("sys/class/thermal/thermal_zone*/temp")
            if (reading := _number(zone)) is not None and reading > _LOWEST_PLAUSIBLE_MILLIDEGREES and reading != 0
        ]
        return max(readings) / 1000 if readings else None

    def throttling(self) -> Throttling:
        """What slows the processor down now, as far as the machine tells."""
        active = list(self._raspberry_pi_flags())
        for device in sorted(self._root.glob("sys/class/thermal/cooling_device*")):
            kind = _read(device / "type").strip()
            state = _number(device / "cur_state")
            # Fans are cooling devices too; only a processor that is held back changes a latency.
            if state and ("cpufreq" in kind or "processor" in kind.lower()):
                active.append(f"cooling by {kind}")
        counts = [
            _number(path) or 0
            for path in self._root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
        ]
        return Throttling(active=tuple(active), event_count=sum(counts))

    def clock_fraction(self) -> float | None:
        """The clock of the processor that is nearest to its highest, as a fraction of that: 1 at full clock.

        It says something while a processor is busy; when all are idle, all may be slow by right.
        """
        fractions = []
        for directory in self._root.glob("sys/devices/system/cpu/cpu*/cpufreq"):
            current, highest = _number(directory / "scaling_cur_freq"), _number(directory / "cpuinfo_max_freq")
            if current and highest:
                fractions.append(current / highest)
        return max(fractions) if fractions else None

    def _raspberry_pi_flags(self) -> tuple[str, ...]:
        for path in self._root.glob("sys/devices/platform/*/*:firmware/get_throttled"):
            with suppress(ValueError):
                word = int(_read(path), 16)
                return tuple(name for bit, name in _RASPBERRY_PI_FLAGS.items() if word & 1 << bit)
        return ()

    def _text(self, relative: str) -> str:
        return _read(self._root / relative)


def _read(path: Path) -> str:
    """The file's text; empty where it is missing or refuses: sensors come, go, and fail."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_read(path))
    except ValueError:
        return None
