"""The look at the machine before a measurement: it delays nothing, and what it finds stays with the figures."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from agent.profiling.host import Host
from agent.profiling.measurement import Conditions

_PRESSURE_WINDOW_S = 0.2
_HIGHEST_PRESSURE_FRACTION = 0.05
_HIGHEST_LOAD_PER_PROCESSOR = 0.3
_HIGHEST_START_TEMPERATURE_C = 70.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFindings:
    """What the machine was like just before, and what of it may disturb."""

    conditions: Conditions
    remarks: tuple[str, ...]


async def inspect(host: Host) -> GateFindings:
    """The machine's state now, over a fifth of a second.

    The kernel's own averages of pressure look back ten seconds, into the training that has just made room.
    """
    load_average = host.load_average() or 0.0
    temperature_c = host.temperature_c()
    pressure = await _pressure_fraction(host)
    remarks = []
    if pressure is not None and pressure > _HIGHEST_PRESSURE_FRACTION:
        remarks.append(f"busy before the start: tasks waited for a processor {pressure:.0%} of the time")
    processors = os.cpu_count() or 1
    if pressure is None and load_average > _HIGHEST_LOAD_PER_PROCESSOR * processors:
        remarks.append(f"busy before the start: load average {load_average:.1f}")
    if temperature_c is not None and temperature_c > _HIGHEST_START_TEMPERATURE_C:
        remarks.append(f"hot before the start: {temperature_c:.0f} °C")
    remarks += [f"held back before the start: {reason}" for reason in host.throttling().active]
    conditions = Conditions(governor=host.governor(), load_average=load_average, temperature_c=temperature_c)
    return GateFindings(conditions=conditions, remarks=tuple(remarks))


async def _pressure_fraction(host: Host) -> float | None:
    loop = asyncio.get_running_loop()
    began_s, before_us = loop.time(), host.pressure_us()
    if before_us is None:
        return None
    await asyncio.sleep(_PRESSURE_WINDOW_S)
    after_us = host.pressure_us()
    if after_us is None:
        return None
    return min(1.0, (after_us - before_us) / 1e6 / (loop.time() - began_s))
