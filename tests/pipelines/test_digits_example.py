from __future__ import annotations

from pipelines.checking import check_workload
from pipelines.compress import compress, train_baseline
from pipelines.evaluation.operations import parameter_count
from pipelines.prune.structured import StructuredPrune
from pipelines.quantize.static import QuantizeInt8
from pipelines.recipe import Recipe
from pipelines.workload import Workload


def test_the_example_is_a_workload_that_learns_and_compresses_well(digits: Workload) -> None:
    check_workload(digits)
    assert 30_000 <= parameter_count(digits.model()) <= 80_000
    baseline = train_baseline(digits, seed=0)
    assert baseline.accuracy >= 0.97
    recipe = Recipe(passes=(StructuredPrune(amount=0.5), QuantizeInt8()))
    variant = compress(digits, recipe, baseline=baseline.checkpoint, seed=0)
    assert variant.size_bytes < 25_000
    assert variant.accuracy is not None
    assert variant.accuracy >= baseline.accuracy - 0.03
