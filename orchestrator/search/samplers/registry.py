"""The one table of samplers, and the samplers of other packages."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from orchestrator.errors import InvalidInputError
from orchestrator.search.samplers.exhaustive import Exhaustive
from orchestrator.search.samplers.measure_first import MeasureFirst
from orchestrator.search.samplers.random import Random
from orchestrator.search.samplers.sampler import Sampler
from orchestrator.search.samplers.tpe import Tpe

ENTRY_POINT_GROUP = "fleetfit.samplers"

SAMPLERS: Mapping[str, type[Sampler]] = MappingProxyType(
    {
        "measure-first": MeasureFirst,
        "exhaustive": Exhaustive,
        "random": Random,
        "tpe": Tpe,
    }
)


def sampler_names() -> tuple[str, ...]:
    """Names of every sampler that a search can use here, our own first."""
    return (*SAMPLERS, *sorted(_foreign().keys() - SAMPLERS.keys()))


def make_sampler(name: str) -> Sampler:
    """The sampler of that name. A name of our own table always means our own sampler.

    Raises:
        InvalidInputError: There is none, or another package offers one under that name that is not a sampler.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]()
    entry_point = _foreign().get(name)
    if entry_point is None:
        near = difflib.get_close_matches(name, sampler_names(), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sampler_names())}"
        raise InvalidInputError(f"sampler: there is no sampler '{name}'", hint=hint)
    return _loaded(entry_point)


def _foreign() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}


def _loaded(entry_point: EntryPoint) -> Sampler:
    try:
        found = entry_point.load()
    except (ImportError, AttributeError) as error:
        message = f"sampler '{entry_point.name}' ({entry_point.value}) does not load: {error}"
        raise InvalidInputError(message, hint="update or remove the package that offers it") from error
    if not (isinstance(found, type) and issubclass(found, Sampler)):
        message = f"'{entry_point.value}' is offered as sampler '{entry_point.name}' and is not one"
        raise InvalidInputError(message, hint="it must be a subclass of orchestrator.search.samplers.sampler.Sampler")
    return found()
