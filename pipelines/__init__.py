"""Compression as a library: PyTorch in, artifact out.

Importing this package loads nothing heavy: each public name comes from its own module when it is first used, so that
recipes can be read and planned with without PyTorch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.checking import check_workload
    from pipelines.checkpoint import load_checkpoint, save_checkpoint
    from pipelines.compress import Baseline, Variant, compress, train_baseline
    from pipelines.distill.distill import Distill
    from pipelines.errors import PipelinesError
    from pipelines.loading import load_workload, load_workload_source
    from pipelines.low_rank.svd import LowRank
    from pipelines.observer import NullObserver, Observer
    from pipelines.passes import Figures, Pass, PassReport, Stage
    from pipelines.prune.magnitude import MagnitudePrune
    from pipelines.prune.structured import StructuredPrune
    from pipelines.quantize.dynamic import QuantizeInt8Dynamic
    from pipelines.quantize.half import Float16
    from pipelines.quantize.sharing import WeightSharing
    from pipelines.quantize.static import QuantizeInt8
    from pipelines.quantize.weight_only import Int4Weights, Int8Weights
    from pipelines.recipe import ExportSettings, Recipe, parse_recipe
    from pipelines.recipe_file import read_recipe
    from pipelines.space import default_recipes
    from pipelines.workload import Data, Inputs, Training, Workload

__all__ = [
    "Baseline",
    "Data",
    "Distill",
    "ExportSettings",
    "Figures",
    "Float16",
    "Inputs",
    "Int4Weights",
    "Int8Weights",
    "LowRank",
    "MagnitudePrune",
    "NullObserver",
    "Observer",
    "Pass",
    "PassReport",
    "PipelinesError",
    "QuantizeInt8",
    "QuantizeInt8Dynamic",
    "Recipe",
    "Stage",
    "StructuredPrune",
    "Training",
    "Variant",
    "WeightSharing",
    "Workload",
    "check_workload",
    "compress",
    "default_recipes",
    "load_checkpoint",
    "load_workload",
    "load_workload_source",
    "parse_recipe",
    "read_recipe",
    "save_checkpoint",
    "train_baseline",
]

# Where each public name lives.
_MODULES = {
    "Baseline": "compress",
    "Data": "workload",
    "Distill": "distill.distill",
    "ExportSettings": "recipe",
    "Figures": "passes",
    "Float16": "quantize.half",
    "Inputs": "workload",
    "Int4Weights": "quantize.weight_only",
    "Int8Weights": "quantize.weight_only",
    "LowRank": "low_rank.svd",
    "MagnitudePrune": "prune.magnitude",
    "NullObserver": "observer",
    "Observer": "observer",
    "Pass": "passes",
    "PassReport": "passes",
    "PipelinesError": "errors",
    "QuantizeInt8": "quantize.static",
    "QuantizeInt8Dynamic": "quantize.dynamic",
    "Recipe": "recipe",
    "Stage": "passes",
    "StructuredPrune": "prune.structured",
    "Training": "workload",
    "Variant": "compress",
    "WeightSharing": "quantize.sharing",
    "Workload": "workload",
    "check_workload": "checking",
    "compress": "compress",
    "default_recipes": "space",
    "load_checkpoint": "checkpoint",
    "load_workload": "loading",
    "load_workload_source": "loading",
    "parse_recipe": "recipe",
    "read_recipe": "recipe_file",
    "save_checkpoint": "checkpoint",
    "train_baseline": "compress",
}


def __getattr__(name: str) -> Any:
    """The public name, from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pipelines' has no attribute '{name}'")
    return getattr(importlib.import_module(f"pipelines.{_MODULES[name]}"), name)


class _Package(ModuleType):
    """This package, whose name ``compress`` is the function of the module ``pipelines.compress``, and stays it."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Loading a submodule binds it to its name in the package, which would hide the function.
        if not (name == "compress" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
