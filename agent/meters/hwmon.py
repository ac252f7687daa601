"""Power sensors of Texas Instruments' INA family, as the kernel's hwmon drivers show them.

INA219, INA226 and their kin have one channel, and measure the board when they sit in its supply. INA238 is the input of
a Jetson Thor, INA3221 the rails of the other Jetsons' modules: there the rail that feeds all others is the figure, and
where there is none, the sum.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.meters.meter import MeterFacts, Quantity, Reading, SampledMeter
from agent.meters.sysfs import NumberFile, read_number, read_text
from agent.profiling.measurement import Provenance

_SINGLE_CHANNEL = ("ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260")
_THREE_CHANNELS = "ina3221"
_CHANNELS = (1, 2, 3)
# Rails through which everything else of a module is fed.
_INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0")
_NOT_CONNECTED = "NC"

_HIGHEST_RATE_HZ = 100.0
_HIGHEST_PLAUSIBLE_W = 2000.0
_MINIMUM_WINDOW_S = 10.0
# The chips are good to 0.1 %; the shunt resistors that boards carry are good to 1 %.
_GAIN_ERROR_FRACTION = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One supply line: a file with microwatts, or one with millivolts and one with milliamperes."""

    label: str
    power: Path | None = None
    voltage: Path | None = None
    current: Path | None = None


class HwmonMeter(SampledMeter):
    """The summed power of some rails of one chip."""

    def __init__(self, *, name: str, scope: str, rails: Sequence[Rail], update_interval_ms: int | None) -> None:
        self._facts = MeterFacts(name=name, provenance=Provenance.MEASURED, scope=scope)
        self._rails = [
            tuple(NumberFile(path) for path in (rail.power, rail.voltage, rail.current) if path is not None)
            for rail in rails
        ]
        self._rate_hz = min(_HIGHEST_RATE_HZ, 1000 / update_interval_ms) if update_interval_ms else _HIGHEST_RATE_HZ

    @property
    def facts(self) -> MeterFacts:
        """Name and scope; what it tells is measured."""
        return self._facts

    @property
    def rail_count(self) -> int:
        """How many rails it sums."""
        return len(self._rails)

    @property
    def quantity(self) -> Quantity:
        """Watts."""
        return Quantity.POWER_W

    @property
    def rate_hz(self) -> float:
        """As often as the chip has a new value, at most 100 times a second."""
        return self._rate_hz

    @property
    def minimum_window_s(self) -> float:
        """Ten seconds."""
        return _MINIMUM_WINDOW_S

    @property
    def gain_error_fraction(self) -> float:
        """That of a usual shunt resistor."""
        return _GAIN_ERROR_FRACTION

    def open(self) -> None:
        """Opens the files of every rail."""
        try:
            for files in self._rails:
                for file in files:
                    file.open()
        except OSError:
            self.close()
            raise

    def read(self) -> Reading:
        """Watts, at the middle of the time that reading took."""
        begin_ns = time.monotonic_ns()
        microwatts = 0
        for files in self._rails:
            values = [file.read() for file in files]
            # Millivolts times milliamperes are microwatts.
            microwatts += values[0] if len(values) == 1 else values[0] * values[1]
        end_ns = time.monotonic_ns()
        return Reading(time_ns=(begin_ns + end_ns) // 2, value=microwatts / 1e6)

    def close(self) -> None:
        """Closes the files."""
        for files in self._rails:
            for file in files:
                file.close()


def find_hwmon_meters(root: Path) -> tuple[HwmonMeter, ...]:
    """The INA sensors under ``root`` that answer with a plausible power: of a board, of a module, sums of rails."""
    meters = [meter for directory in _directories(root) for meter in _meters_of(directory) if _is_plausible(meter)]
    return tuple(sorted(meters, key=lambda meter: (meter.facts.scope != "board", meter.rail_count, meter.facts.name)))


def _directories(root: Path) -> Iterator[Path]:
    yield from sorted(root.glob("sys/class/hwmon/hwmon*"))


def _meters_of(directory: Path) -> Iterator[HwmonMeter]:
    chip = read_text(directory / "name")
    interval_ms = read_number(directory / "update_interval")
    if chip in _SINGLE_CHANNEL:
        label = read_text(directory / "power1_label") or read_text(directory / "in1_label")
        rail = Rail(label=label, power=directory / "power1_input")
        if not (directory / "power1_input").exists():
            rail = Rail(label=label, voltage=directory / "in1_input", current=directory / "curr1_input")
        name = f"{chip}-{label.lower()}" if label else f"{chip}-{directory.name}"
        yield HwmonMeter(name=name, scope="board", rails=[rail], update_interval_ms=interval_ms)
    elif chip == _THREE_CHANNELS:
        rails = list(_rails_of(directory))
        feeding = [rail for rail in rails if rail.label.upper() in _INPUT_RAILS]
        if feeding:
            name = f"{chip}-{feeding[0].label.lower()}"
            yield HwmonMeter(name=name, scope="module", rails=feeding[:1], update_interval_ms=interval_ms)
        elif rails:
            yield HwmonMeter(
                name=f"{chip}-{directory.name}-sum", scope="module", rails=rails, update_interval_ms=interval_ms
            )


def _rails_of(directory: Path) -> Iterator[Rail]:
    for channel in _CHANNELS:
        label = read_text(directory / f"in{channel}_label")
        voltage, current = directory / f"in{channel}_input", directory / f"curr{channel}_input"
        if _NOT_CONNECTED not in label.upper().split("_") and voltage.exists() and current.exists():
            yield Rail(label=label or f"channel{channel}", voltage=voltage, current=current)


def _is_plausible(meter: HwmonMeter) -> bool:
    """Whether it really answers: a driver may be there, and the chip behind it not."""
    try:
        meter.open()
        return 0 <= meter.read().value <= _HIGHEST_PLAUSIBLE_W
    except (OSError, ValueError):
        return False
    finally:
        meter.close()
