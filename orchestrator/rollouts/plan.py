"""How a rollout goes through its devices: in which waves, and what each must show before the next starts. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import InvalidInputError

_WAVES_HINT = "for example '1,10%,50%,100%': each counts the devices so far, and the last is 100%"
_MAXIMUM_WAVES = 100
_LONGEST_S = 366 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveSize:
    """How many devices have had their turn once the wave has: a number of them, or a share of all."""

    devices: int = 0
    fraction: float = 0.0

    def of(self, device_count: int) -> int:
        """The number of devices, of ``device_count``; a share is rounded up."""
        # A share such as 0.07 of 100 is a little more than 7 in binary.
        reached = self.devices or math.ceil(self.fraction * device_count - 1e-9)
        return min(reached, device_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a rollout was asked to do. By itself: all devices at once, and each must serve the release."""

    waves: tuple[WaveSize, ...] = (WaveSize(fraction=1.0),)
    # Of a wave's devices that count, this share must serve the release before the next wave starts.
    success_fraction: float = 1.0
    # From this share of failures on, nothing more is started.
    error_fraction: float = 0.5
    # So many devices of a wave must have ended before anything is concluded from it.
    minimum_sample: int = 1
    # So long a wave must have stood, counted from its last device's end, before the next one starts.
    soak_s: float = 0.0
    # So many devices update at the same time; 0: as many as there are.
    max_parallel: int = 0
    # A device that is offline so long after its turn came is not waited for; None: it is.
    offline_deadline_s: float | None = None
    # Devices that come to match the selector while the rollout goes on join its last wave.
    open: bool = False
    # Decides which devices come first.
    seed: int = 0

    def check(self) -> Plan:
        """The plan itself.

        Raises:
            InvalidInputError: It makes no sense; the message says where.
        """
        if not 1 <= len(self.waves) <= _MAXIMUM_WAVES:
            raise InvalidInputError(f"a rollout has 1 to {_MAXIMUM_WAVES} waves", hint=_WAVES_HINT)
        if self.waves[-1].fraction != 1.0:
            raise InvalidInputError("the last wave does not reach every device", hint=_WAVES_HINT)
        for size in self.waves:
            if size.devices < 0 or not 0 <= size.fraction <= 1 or (size.devices > 0) == (size.fraction > 0):
                raise InvalidInputError("a wave is a number of devices or a share of them", hint=_WAVES_HINT)
        for name, share in (("success", self.success_fraction), ("error", self.error_fraction)):
            if not 0 < share <= 1:
                raise InvalidInputError(f"the {name} threshold must be more than 0% and at most 100%")
        if self.minimum_sample < 1 or self.max_parallel < 0:
            raise InvalidInputError("the minimum sample is at least 1, and the devices in parallel cannot be negative")
        for name, seconds in (("soak time", self.soak_s), ("deadline", self.offline_deadline_s)):
            if seconds is not None and not 0 <= seconds <= _LONGEST_S:
                raise InvalidInputError(f"the {name} must be between 0 and 366 days")
        return self

    def waves_of(self, device_ids: Iterable[str]) -> Mapping[str, int]:
        """The wave of each device, from 0 on. Waves for which no device is left are not counted.

        The same seed and devices give the same waves, in whatever order the devices are named.
        """
        order = sorted(set(device_ids))
        random.Random(self.seed).shuffle(order)  # noqa: S311 - spreads devices over waves, no secret
        assigned: dict[str, int] = {}
        wave = 0
        for size in self.waves:
            members = order[len(assigned) : size.of(len(order))]
            assigned.update(dict.fromkeys(members, wave))
            wave += bool(members)
        return assigned


def parse_waves(text: str) -> tuple[WaveSize, ...]:
    """The waves that ``1,10%,50%,100%`` writes; each counts all devices up to and with it.

    Raises:
        InvalidInputError: A part is neither a number of devices nor a share, or the last is not 100%.
    """
    waves = tuple(_wave_size(part.strip()) for part in text.split(","))
    return Plan(waves=waves).check().waves


def parse_fraction(text: str, *, name: str) -> float:
    """The share that ``95%`` or ``0.95`` writes.

    Raises:
        InvalidInputError: It is none, or not between 0 and 1.
    """
    number, percent = (text[:-1], 100.0) if text.endswith("%") else (text, 1.0)
    try:
        share = float(number) / percent
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise InvalidInputError(f"{name}: '{text}' is not a share", hint="for example 95%")
    return share


def waves_text(waves: Sequence[WaveSize]) -> str:
    """The waves as users write them."""
    return ",".join(str(size.devices) if size.devices else f"{size.fraction * 100:.6g}%" for size in waves)


def _wave_size(part: str) -> WaveSize:
    if part.endswith("%"):
        return WaveSize(fraction=parse_fraction(part, name="waves"))
    if not (part.isascii() and part.isdigit() and len(part) < 10 and int(part) > 0):
        raise InvalidInputError(f"waves: '{part}' is neither a number of devices nor a share", hint=_WAVES_HINT)
    return WaveSize(devices=int(part))
