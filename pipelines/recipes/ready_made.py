"""The ready-made recipes, read from the files beside this one."""

from __future__ import annotations

from importlib.resources import files

from pipelines.errors import RecipeError
from pipelines.recipe import Recipe
from pipelines.recipe_file import read_recipe_text
from pipelines.strict import nearest

_SUFFIX = ".yaml"


def ready_made_names() -> tuple[str, ...]:
    """Names of the ready-made recipes, in alphabetical order."""
    entries = (entry.name for entry in files("pipelines.recipes").iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in entries if name.endswith(_SUFFIX)))


def ready_made_text(name: str) -> str:
    """The file of a ready-made recipe, comments and all.

    Raises:
        RecipeError: There is none of that name.
    """
    if name not in ready_made_names():
        raise RecipeError(f"there is no ready-made recipe '{name}'; {nearest(name, ready_made_names())}")
    return files("pipelines.recipes").joinpath(name + _SUFFIX).read_text(encoding="utf-8")


def ready_made_recipe(name: str) -> Recipe:
    """The ready-made recipe of that name.

    Raises:
        RecipeError: There is none of that name.
    """
    return read_recipe_text(ready_made_text(name), f"{name}{_SUFFIX}")
