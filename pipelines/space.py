"""The default space: the recipes that a search tries where the user names none."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.distill.distill import Distill
from pipelines.low_rank.svd import LowRank
from pipelines.passes import Pass
from pipelines.prune.structured import StructuredPrune
from pipelines.quantize.dynamic import QuantizeInt8Dynamic
from pipelines.quantize.static import QuantizeInt8
from pipelines.recipe import ExportSettings, Recipe

# Every method alone, then what goes well together. Few, and far apart: each costs a training.
_COMBINATIONS: tuple[tuple[Pass, ...], ...] = (
    (),
    (QuantizeInt8(),),
    (QuantizeInt8Dynamic(),),
    (StructuredPrune(amount=0.5),),
    (LowRank(rank=0.25),),
    (Distill(width=0.5),),
    (StructuredPrune(amount=0.25), QuantizeInt8()),
    (StructuredPrune(amount=0.5), QuantizeInt8()),
    (StructuredPrune(amount=0.65), QuantizeInt8()),
    (LowRank(rank=0.25), QuantizeInt8()),
    (Distill(width=0.5), QuantizeInt8()),
    (Distill(width=0.35), QuantizeInt8()),
    (StructuredPrune(amount=0.5), LowRank(rank=0.35), QuantizeInt8()),
)

# A second format makes other files of the same models: only what is likely to win there is tried again.
_IN_FURTHER_FORMATS: tuple[tuple[Pass, ...], ...] = (
    (),
    (QuantizeInt8(),),
    (StructuredPrune(amount=0.5), QuantizeInt8()),
    (Distill(width=0.35), QuantizeInt8()),
)


def default_recipes(*, formats: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes to try, the baseline in the first format first.

    Args:
        formats: Export formats, the preferred one first: ``("onnx",)``, ``("onnx", "tflite")``.
    """
    recipes: list[Recipe] = []
    for export_format in formats:
        combinations = _IN_FURTHER_FORMATS if recipes else _COMBINATIONS
        export = ExportSettings.model_validate({"format": export_format})
        recipes.extend(Recipe(passes=passes, export=export) for passes in combinations)
    return tuple(recipes)
