"""Energy without a sensor: power from a table of boards, times latency. Labelled as what it is.

The table holds what owners and reviewers commonly report for these boards at the wall: idle without a display, and the
rise from idle to every core at full load, divided by the cores. Such figures differ between supplies, peripherals and
revisions by tens of percent, so an estimate ranks models of one device and says little about its battery.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from agent.meters.meter import Estimate, EstimatingMeter, MeterFacts
from agent.meters.sysfs import read_text
from agent.profiling.measurement import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerProfile:
    """What a board draws, in watts."""

    name: str
    idle_w: float
    busy_core_w: float


# By the beginning of the board's own name; the first that fits.
_BOARDS = (
    ("Raspberry Pi 5", PowerProfile(name="Raspberry Pi 5", idle_w=2.7, busy_core_w=1.3)),
    ("Raspberry Pi 4", PowerProfile(name="Raspberry Pi 4", idle_w=2.7, busy_core_w=0.9)),
    ("Raspberry Pi 3", PowerProfile(name="Raspberry Pi 3", idle_w=1.6, busy_core_w=0.7)),
    ("Raspberry Pi Zero 2", PowerProfile(name="Raspberry Pi Zero 2", idle_w=0.7, busy_core_w=0.4)),
    ("NVIDIA Jetson Nano", PowerProfile(name="Jetson Nano", idle_w=1.5, busy_core_w=1.0)),
    ("NVIDIA Jetson Xavier", PowerProfile(name="Jetson Xavier", idle_w=4.5, busy_core_w=1.2)),
    ("NVIDIA Jetson Orin", PowerProfile(name="Jetson Orin", idle_w=5.0, busy_core_w=1.2)),
    ("NVIDIA Orin", PowerProfile(name="Jetson Orin", idle_w=5.0, busy_core_w=1.2)),
)
_ARCHITECTURES = {
    "x86_64": PowerProfile(name="x86_64 computer", idle_w=10.0, busy_core_w=6.0),
    "aarch64": PowerProfile(name="aarch64 board", idle_w=2.5, busy_core_w=1.0),
    "armv7l": PowerProfile(name="32-bit ARM board", idle_w=1.5, busy_core_w=0.5),
}
_UNKNOWN = PowerProfile(name="unknown computer", idle_w=5.0, busy_core_w=2.0)


class EstimateMeter(EstimatingMeter):
    """Power from the table, times latency."""

    def __init__(self, profile: PowerProfile) -> None:
        self._profile = profile

    @property
    def facts(self) -> MeterFacts:
        """An estimate, of the model alone."""
        return MeterFacts(name="estimate", provenance=Provenance.ESTIMATED, scope="model")

    def estimate(self, *, latency_ms: float, threads: int) -> Estimate:
        """Gross with the board's idle power, net without."""
        cores = threads or os.cpu_count() or 1
        busy_w = self._profile.busy_core_w * cores
        # Watts times milliseconds are millijoules.
        return Estimate(
            gross_mj=(self._profile.idle_w + busy_w) * latency_ms,
            net_mj=busy_w * latency_ms,
            remark=(
                f"no sensor took part: {busy_w:g} W for {cores} busy {'core' if cores == 1 else 'cores'} and "
                f"{self._profile.idle_w:g} W idle ({self._profile.name}, from a table) times {latency_ms:.3g} ms"
            ),
        )


def find_estimate_meter(root: Path) -> EstimateMeter:
    """The estimate for the board that ``root`` belongs to; there is always one."""
    board = read_text(root / "proc/device-tree/model").rstrip("\0")
    for beginning, profile in _BOARDS:
        if board.startswith(beginning):
            return EstimateMeter(profile)
    return EstimateMeter(_ARCHITECTURES.get(platform.machine(), _UNKNOWN))
