"""A recipe in a file: YAML 1.2 (and so JSON), every error with its line and column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import RecipeError
from pipelines.recipe import Recipe
from pipelines.strict import first_problem


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        RecipeError: The file cannot be read, is not YAML, or holds no recipe that makes sense; the message begins with
            ``file:line:column`` and shows the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    return read_recipe_text(text, str(path))


def read_recipe_text(text: str, filename: str) -> Recipe:
    """The recipe in a text; ``filename`` is for messages.

    Raises:
        RecipeError: As for ``read_recipe``.
    """
    try:
        data = YAML(typ="safe", pure=True).load(text)
        positions = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        raise RecipeError(_at(filename, text, line, column, str(error.problem))) from error
    except YAMLError as error:
        raise RecipeError(f"{filename}: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(_at(filename, text, 0, 0, "a recipe is a mapping with the keys 'passes' and 'export'"))
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        location, message = first_problem(error)
        line, column = _position(positions, location)
        place = ".".join(str(part) for part in location)
        message = f"{place}: {message}" if place else message
        raise RecipeError(_at(filename, text, line, column, message)) from error


def _position(node: Any, location: Sequence[str | int]) -> tuple[int, int]:
    """Line and column, from 0, of the deepest place on the way to ``location`` that the text has."""
    position = (0, 0)
    for part in location:
        if isinstance(node, CommentedMap) and part in node:
            position = node.lc.key(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            position = node.lc.item(part)
        else:
            break
        node = node[part]
    return position


def _at(filename: str, text: str, line: int, column: int, message: str) -> str:
    lines = text.splitlines()
    shown = lines[line] if line < len(lines) else ""
    number = str(line + 1)
    margin = " " * len(number)
    return f"{filename}:{number}:{column + 1}: {message}\n  {number} | {shown}\n  {margin} | {' ' * column}^"
