from __future__ import annotations

from pipelines.passes import Stage
from pipelines.recipe import Recipe
from pipelines.space import default_recipes


def test_the_baseline_comes_first() -> None:
    assert default_recipes(formats=("onnx",))[0] == Recipe()


def test_every_method_is_tried_alone_and_in_combination() -> None:
    recipes = default_recipes(formats=("onnx",))
    alone = {recipe.passes[0].name for recipe in recipes if len(recipe.passes) == 1}
    together = {step.name for recipe in recipes if len(recipe.passes) > 1 for step in recipe.passes}
    assert alone == {"structured_prune", "low_rank", "distill", "int8", "int8_dynamic"}
    assert together >= {"structured_prune", "low_rank", "distill", "int8"}
    assert 10 <= len(recipes) <= 14


def test_no_recipe_is_tried_twice() -> None:
    recipes = default_recipes(formats=("onnx", "tflite"))
    assert len({recipe.sha256 for recipe in recipes}) == len(recipes)
    assert {recipe.export.format for recipe in recipes} == {"onnx", "tflite"}
    assert any(step.stage is Stage.PRECISION for recipe in recipes for step in recipe.passes)
