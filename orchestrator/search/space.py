"""The space of a search: the recipes that it chooses from."""

from __future__ import annotations

from orchestrator.errors import InvalidInputError
from orchestrator.search.spec import SearchSpec
from pipelines.errors import RecipeError
from pipelines.recipe import Recipe, parse_recipe
from pipelines.space import default_recipes


def recipes_of(spec: SearchSpec) -> tuple[Recipe, ...]:
    """The recipes of a spec, or the default ones: each once, the baseline first, no more than its trials.

    Raises:
        InvalidInputError: A recipe is not valid, or there is none besides the baseline; the message names the place.
    """
    found = _given(spec) if spec.recipes else default_recipes(formats=spec.formats)
    # The baseline ends in the format of the recipe that came first.
    baseline = Recipe(export=found[0].export)
    distinct = {recipe.sha256: recipe for recipe in (baseline, *found)}
    return tuple(distinct.values())[: spec.max_trials]


def _given(spec: SearchSpec) -> tuple[Recipe, ...]:
    recipes = []
    for index, data in enumerate(spec.recipes):
        try:
            recipes.append(parse_recipe(data))
        except RecipeError as error:
            raise InvalidInputError(f"recipes.{index}: {error.message}", hint=error.hint) from error
    return tuple(recipes)
