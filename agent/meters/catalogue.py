"""Which energy meters this device has, the best first.

One table holds the built-in kinds; packages of third parties add theirs through the entry-point group
``fleetfit.meters`` (a function from the root directory to a sequence of `agent.meters.meter.Meter`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from agent.meters.estimate import find_estimate_meter
from agent.meters.hwmon import find_hwmon_meters
from agent.meters.meter import Meter
from agent.meters.rapl import find_rapl_meters

ENTRY_POINT_GROUP = "fleetfit.meters"

# In order of preference: what covers the board before what covers a part of it.
_BUILT_IN: tuple[Callable[[Path], Sequence[Meter]], ...] = (find_hwmon_meters, find_rapl_meters)


def available_meters(root: Path = Path("/")) -> tuple[Meter, ...]:
    """The meters that have answered a reading just now, the best first; last, and always, the estimate.

    Args:
        root: Where ``/sys`` and ``/proc`` are looked up.
    """
    others = [point.load() for point in metadata.entry_points(group=ENTRY_POINT_GROUP)]
    found: list[Meter] = []
    for find in (*others, *_BUILT_IN):
        found += find(root)
    return (*found, find_estimate_meter(root))
