"""What an energy meter is. Each implementation is a sibling of this file.

Two kinds: a `SampledMeter` reads a sensor over and over, and energy is what its readings add up to; an
`EstimatingMeter` has no sensor and computes. Provenance tells them apart wherever a figure goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from agent.profiling.measurement import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFacts:
    """An energy meter that this device offers."""

    name: str
    provenance: Provenance
    # What the figure covers: "board", "module", "cpu_package", "model".
    scope: str


class Quantity(str, Enum):
    """What one reading is."""

    POWER_W = "power_w"
    # Counts up from an arbitrary start, and never wraps: the meter has seen to that.
    ENERGY_J = "energy_j"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value, at a time on the machine's monotonic clock."""

    time_ns: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Energy of one inference, computed; never to be shown as measured."""

    gross_mj: float
    net_mj: float
    remark: str


class Meter(ABC):
    """Base of both kinds."""

    @property
    @abstractmethod
    def facts(self) -> MeterFacts:
        """What it is called, and how far its figures may be trusted."""


class SampledMeter(Meter):
    """A sensor. Opened, read by one thread, closed; it may be opened again."""

    @property
    @abstractmethod
    def quantity(self) -> Quantity:
        """What ``read`` returns."""

    @property
    @abstractmethod
    def rate_hz(self) -> float:
        """How often a new value is worth reading."""

    @property
    @abstractmethod
    def minimum_window_s(self) -> float:
        """The shortest stretch over which its figure can be trusted."""

    @property
    @abstractmethod
    def gain_error_fraction(self) -> float:
        """The systematic error that stays however often it is read, as a share of the value."""

    @abstractmethod
    def open(self) -> None:
        """Makes it ready.

        Raises:
            OSError: The sensor is gone, or may not be read.
        """

    @abstractmethod
    def read(self) -> Reading:
        """The present value.

        Raises:
            OSError: The sensor does not answer now.
            ValueError: It answers nonsense.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go; harmless when it is not open."""


class EstimatingMeter(Meter):
    """No sensor: a model of the hardware."""

    @abstractmethod
    def estimate(self, *, latency_ms: float, threads: int) -> Estimate:
        """The energy of one inference.

        Args:
            latency_ms: Time per inference.
            threads: Threads that the model ran on; 0 means every processor.
        """
