"""``fleetfit recipe``: the ready-made recipes, and whether one of the user's own is right."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import DEBUG, OUTPUT
from orchestrator.cli.output import print_facts, print_json, print_table
from orchestrator.cli.pipelines_errors import as_fleetfit_errors
from orchestrator.cli.settings import current_settings
from pipelines.recipe import Recipe
from pipelines.recipe_file import read_recipe
from pipelines.recipes.ready_made import ready_made_names, ready_made_recipe, ready_made_text

_COMMANDS = {
    "list": ("orchestrator.cli.recipe:list_", "Ready-made recipes."),
    "show": ("orchestrator.cli.recipe:show", "One of them, as a file to copy."),
    "validate": ("orchestrator.cli.recipe:validate", "Whether a file is a recipe."),
}


@group("recipe", commands_at=_COMMANDS, example="fleetfit recipe list")
def recipe() -> None:
    """Recipes: ordered lists of passes that make a small model of a large one."""


@command("list", example="fleetfit recipe list", options=(*OUTPUT, *DEBUG))
def list_() -> None:
    """Lists the ready-made recipes."""
    found = {name: ready_made_recipe(name) for name in ready_made_names()}
    if current_settings().as_json:
        print_json(recipes=[{"name": name, **each.model_dump(mode="json")} for name, each in found.items()])
        return
    rows = [[name, _passes(each), each.export.format] for name, each in found.items()]
    print_table(["NAME", "PASSES", "FORMAT"], rows, empty="There are no ready-made recipes.")


@command("show", example="fleetfit recipe show half-int8", options=(*OUTPUT, *DEBUG))
@click.argument("name", metavar="NAME")
def show(name: str) -> None:
    """Prints a ready-made recipe, comments and all."""
    with as_fleetfit_errors():
        text, found = ready_made_text(name), ready_made_recipe(name)
    if current_settings().as_json:
        print_json(recipe=found.model_dump(mode="json"), sha256=found.sha256)
        return
    print(text, end="")


@command("validate", example="fleetfit recipe validate my-recipe.yaml", options=(*OUTPUT, *DEBUG))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def validate(path: Path) -> None:
    """Checks a recipe file. Exits with 2, naming line and column, where it is wrong."""
    with as_fleetfit_errors():
        found = read_recipe(path)
    if current_settings().as_json:
        print_json(recipe=found.model_dump(mode="json"), sha256=found.sha256)
        return
    print_facts({"recipe": found.title, "passes": _passes(found), "format": found.export.format, "hash": found.sha256})


def find_recipe(name: str) -> Recipe:
    """The recipe in the file of that name, or else the ready-made one.

    Raises:
        InvalidFileError: There is neither, or the file holds none.
    """
    path = Path(name)
    with as_fleetfit_errors():
        return read_recipe(path) if path.suffix or path.exists() else ready_made_recipe(name)


def _passes(found: Recipe) -> str:
    return " + ".join(step.title for step in found.passes) or "none"
