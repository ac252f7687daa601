from __future__ import annotations

import pytest

from pipelines.errors import RecipeError
from pipelines.recipes.ready_made import ready_made_names, ready_made_recipe, ready_made_text


@pytest.mark.parametrize("name", ready_made_names())
def test_every_ready_made_recipe_is_valid_and_says_what_it_is_for(name: str) -> None:
    recipe = ready_made_recipe(name)
    assert recipe.name == name
    assert recipe.passes
    assert ready_made_text(name).startswith("# ")


def test_there_are_some() -> None:
    assert {"int8", "half-int8"} <= set(ready_made_names())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="no ready-made recipe 'half-int'; did you mean 'half-int8'"):
        ready_made_recipe("half-int")
