"""The one table of passes, and the passes of other packages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from pipelines.distill.distill import Distill
from pipelines.errors import PassError
from pipelines.low_rank.svd import LowRank
from pipelines.passes import Pass
from pipelines.prune.magnitude import MagnitudePrune
from pipelines.prune.structured import StructuredPrune
from pipelines.quantize.dynamic import QuantizeInt8Dynamic
from pipelines.quantize.half import Float16
from pipelines.quantize.sharing import WeightSharing
from pipelines.quantize.static import QuantizeInt8
from pipelines.quantize.weight_only import Int4Weights, Int8Weights

ENTRY_POINT_GROUP = "fleetfit.passes"

PASSES: Mapping[str, type[Pass]] = MappingProxyType(
    {
        "structured_prune": StructuredPrune,
        "low_rank": LowRank,
        "distill": Distill,
        "magnitude_prune": MagnitudePrune,
        "int8": QuantizeInt8,
        "int8_dynamic": QuantizeInt8Dynamic,
        "fp16": Float16,
        "int8_weights": Int8Weights,
        "int4_weights": Int4Weights,
        "weight_sharing": WeightSharing,
    }
)


def pass_names() -> tuple[str, ...]:
    """Names of every pass that a recipe can use here, our own first."""
    return (*PASSES, *sorted(_foreign().keys() - PASSES.keys()))


def find_pass(name: str) -> type[Pass] | None:
    """The pass of that name; None where there is none. A name of our own table always means our own pass.

    Raises:
        PassError: Another package offers a pass of that name, and it is not one.
    """
    if name in PASSES:
        return PASSES[name]
    entry_point = _foreign().get(name)
    return None if entry_point is None else _loaded(entry_point)


def _foreign() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINT_GROUP)}


def _loaded(entry_point: EntryPoint) -> type[Pass]:
    try:
        found = entry_point.load()
    except (ImportError, AttributeError) as error:
        message = f"pass '{entry_point.name}' ({entry_point.value}) does not load: {error}"
        raise PassError(message, hint="update or remove the package that offers it") from error
    if not (isinstance(found, type) and issubclass(found, Pass)) or found.name != entry_point.name:
        message = f"'{entry_point.value}' is offered as pass '{entry_point.name}' and is not one"
        raise PassError(message, hint="it must be a subclass of pipelines.passes.Pass with that name")
    return found
