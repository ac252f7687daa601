"""Intel's and AMD's energy counters (RAPL), as the kernel's powercap shows them: the processor package."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from agent.meters.meter import MeterFacts, Quantity, Reading, SampledMeter
from agent.meters.sysfs import NumberFile, read_number, read_text
from agent.profiling.measurement import Provenance

_RATE_HZ = 10.0
_MINIMUM_WINDOW_S = 2.0
# Vendors state no accuracy; comparisons with external meters agree within about this.
_GAIN_ERROR_FRACTION = 0.05


class RaplMeter(SampledMeter):
    """The sum of some counters that do not overlap, unwrapped."""

    def __init__(self, *, name: str, scope: str, domains: Sequence[Path]) -> None:
        self._facts = MeterFacts(name=name, provenance=Provenance.MEASURED, scope=scope)
        self._counters = [NumberFile(domain / "energy_uj") for domain in domains]
        self._ranges_uj = [read_number(domain / "max_energy_range_uj") or 0 for domain in domains]
        self._last_uj: list[int] = []
        self._total_uj = 0

    @property
    def facts(self) -> MeterFacts:
        """Name and scope; what it tells is measured by the processor itself."""
        return self._facts

    @property
    def quantity(self) -> Quantity:
        """Joules."""
        return Quantity.ENERGY_J

    @property
    def rate_hz(self) -> float:
        """Ten times a second: between two readings of a counter nothing is lost."""
        return _RATE_HZ

    @property
    def minimum_window_s(self) -> float:
        """Two seconds, in which the counters are updated some thousand times."""
        return _MINIMUM_WINDOW_S

    @property
    def gain_error_fraction(self) -> float:
        """As found by comparison; nothing better is stated."""
        return _GAIN_ERROR_FRACTION

    def open(self) -> None:
        """Opens the counters; only root may, on most machines."""
        self._last_uj, self._total_uj = [], 0
        try:
            for counter in self._counters:
                counter.open()
        except OSError:
            self.close()
            raise

    def read(self) -> Reading:
        """Joules since the first reading."""
        begin_ns = time.monotonic_ns()
        now_uj = [counter.read() for counter in self._counters]
        end_ns = time.monotonic_ns()
        for before, now, wrap in zip(self._last_uj, now_uj, self._ranges_uj, strict=False):
            self._total_uj += now - before if now >= before else now - before + wrap
        self._last_uj = now_uj
        return Reading(time_ns=(begin_ns + end_ns) // 2, value=self._total_uj / 1e6)

    def close(self) -> None:
        """Closes the counters."""
        for counter in self._counters:
            counter.close()


def find_rapl_meters(root: Path) -> tuple[RaplMeter, ...]:
    """The one RAPL meter under ``root`` that may be read; empty where there is none.

    Domains overlap: the platform contains the packages, and a package its cores. So it is the platform, or else all
    packages and their memory, never both.
    """
    zones = [zone for zone in sorted(root.glob("sys/class/powercap/*-rapl:*")) if (zone / "energy_uj").exists()]
    names = {zone: read_text(zone / "name") for zone in zones}
    platform = [zone for zone in zones if names[zone] == "psys"]
    packages = [zone for zone in zones if names[zone].startswith("package") or names[zone] == "dram"]
    if platform:
        meter = RaplMeter(name="rapl-psys", scope="platform", domains=platform)
    elif packages:
        meter = RaplMeter(name="rapl-package", scope="cpu_package", domains=packages)
    else:
        return ()
    try:
        meter.open()
        meter.read()
    except (OSError, ValueError):
        return ()
    finally:
        meter.close()
    return (meter,)
