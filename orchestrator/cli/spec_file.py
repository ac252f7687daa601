"""A search's spec from a YAML file and the options of the command line, checked with the place of each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from orchestrator.cli.errors import InvalidFileError
from orchestrator.cli.pipelines_errors import as_fleetfit_errors
from orchestrator.cli.source_excerpt import excerpt
from orchestrator.errors import InvalidInputError
from orchestrator.search.spec import SearchSpec
from pipelines.recipe import Recipe
from pipelines.recipe_file import read_recipe
from pipelines.strict import first_problem

# What a spec file has beside the keys of the spec itself.
_WORKLOAD = "workload"

# Options whose name is not that of the key that they set.
_OPTIONS = {"devices": "--device", "budgets.accuracy_drop": "--max-accuracy-drop", "recipes": "--recipe"}

# Keys and indices that lead to a place in the file.
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlFile:
    """A YAML file as it was read, with the places of its keys and values."""

    path: Path
    lines: list[str]
    root: CommentedMap

    def error(self, place: Place, message: str, *, of_key: bool = False, hint: str = "") -> InvalidFileError:
        """An error at the key or the value that ``place`` leads to, or as near as there is one."""
        line, column = self._position(place, of_key=of_key)
        return InvalidFileError(
            f"{self.path}:{line}:{column}: {message}", excerpt=excerpt(self.lines, line, column), hint=hint
        )

    def _position(self, place: Place, *, of_key: bool) -> tuple[int, int]:
        node: Any = self.root
        line, column = 0, 0
        for index, part in enumerate(place):
            try:
                if isinstance(node, CommentedMap):
                    last = index == len(place) - 1
                    line, column = node.lc.key(part) if of_key and last else node.lc.value(part)
                elif isinstance(node, CommentedSeq):
                    line, column = node.lc.item(part)
                else:
                    break
                node = node[part]
            except (KeyError, IndexError, TypeError):
                break
        return line + 1, column + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    """A spec file: the workload that it names, and what it says of the search."""

    yaml: YamlFile
    workload: Path
    content: dict[str, Any]


def read_yaml(path: Path, *, what: str) -> YamlFile:
    """The file, whose outermost is a mapping.

    Raises:
        InvalidInputError: It cannot be read.
        InvalidFileError: It is no YAML, or no mapping; the message names line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the {what} {path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise InvalidInputError(f"the {what} {path} cannot be read: {error.strerror}") from error
    lines = text.splitlines()
    try:
        root = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        problem = (error.problem or error.context or "this is not YAML").partition(" with value")[0]
        raise InvalidFileError(f"{path}:{line}:{column}: {problem}", excerpt=excerpt(lines, line, column)) from error
    except YAMLError as error:
        raise InvalidInputError(f"the {what} {path} is not YAML: {error}") from error
    if not isinstance(root, CommentedMap):
        raise InvalidFileError(
            f"{path}:1:1: the {what} is not a mapping of keys to values", excerpt=excerpt(lines, 1, 1)
        )
    return YamlFile(path=path, lines=lines, root=root)


def read_spec_file(path: Path) -> SpecFile:
    """The spec file; its workload is looked for beside it.

    Raises:
        InvalidInputError: It cannot be read, or names no workload.
    """
    yaml = read_yaml(path, what="spec")
    content = plain(yaml.root)
    workload = content.pop(_WORKLOAD, None)
    if not isinstance(workload, str):
        near = difflib.get_close_matches(_WORKLOAD, map(str, content), n=1)
        if workload is None and near:
            raise yaml.error((near[0],), f"unknown key '{near[0]}'; did you mean '{_WORKLOAD}'?", of_key=True)
        message = "the spec names no workload" if workload is None else f"'{_WORKLOAD}' is not the path of a file"
        raise yaml.error((_WORKLOAD,), message, hint="for example 'workload: digits.py'")
    _check_recipes(yaml, content.get("recipes"))
    return SpecFile(yaml=yaml, workload=path.parent / workload, content=content)


def read_recipes(paths: tuple[Path, ...]) -> list[dict[str, Any]]:
    """The recipes in files of their own, each as plain data.

    Raises:
        InvalidFileError: One of them is no recipe; the message names line and column.
    """
    with as_fleetfit_errors():
        return [read_recipe(path).model_dump(mode="json") for path in paths]


def plain(node: Any) -> Any:
    """The node as plain Python: what validation and JSON understand."""
    if isinstance(node, CommentedMap):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [plain(value) for value in node]
    if isinstance(node, TaggedScalar):
        return str(node.value)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


def build_spec(options: Mapping[str, Any], file: SpecFile | None = None) -> SearchSpec:
    """The spec that the file and the options say together; an option goes before the file.

    ``options`` holds keys of the spec, ``budgets`` as a mapping of its own; what is None was not given.

    Raises:
        InvalidInputError: A key is unknown or missing, or a value is out of range; the message names the option, or the
            line and column of the file.
    """
    given = {key: value for key, value in options.items() if value is not None and key != "budgets"}
    budgets = {key: value for key, value in options.get("budgets", {}).items() if value is not None}
    content = {**(file.content if file is not None else {}), **given}
    if budgets:
        of_file = content.get("budgets")
        content["budgets"] = {**(of_file if isinstance(of_file, dict) else {}), **budgets}
    try:
        return SearchSpec.model_validate(_with_quantities_as_text(content))
    except ValidationError as error:
        raise _explained(error, file, given.keys() | {f"budgets.{key}" for key in budgets}) from error


def _with_quantities_as_text(content: dict[str, Any]) -> dict[str, Any]:
    """The content with bare numbers as text where a quantity stands: it is the missing unit that is wrong with them."""

    def as_text(value: Any) -> Any:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    changed = dict(content)
    if isinstance(changed.get("budgets"), dict):
        changed["budgets"] = {key: as_text(value) for key, value in changed["budgets"].items()}
    if isinstance(changed.get("measuring"), dict):
        durations = ("minimum_duration", "maximum_duration")
        changed["measuring"] = {
            key: as_text(value) if key in durations else value for key, value in changed["measuring"].items()
        }
    if "time_limit" in changed:
        changed["time_limit"] = as_text(changed["time_limit"])
    return changed


def _check_recipes(yaml: YamlFile, recipes: Any) -> None:
    """Checks what the spec's own model takes as it is: the server would refuse it too, without knowing the line."""
    for index, recipe in enumerate(recipes if isinstance(recipes, list) else ()):
        try:
            Recipe.model_validate(recipe)
        except ValidationError as error:
            place, message = first_problem(error)
            raise yaml.error(("recipes", index, *place), message) from error


def _explained(error: ValidationError, file: SpecFile | None, from_options: set[str]) -> InvalidInputError:
    problems = error.errors()
    # A misspelt key before the one that it left missing.
    first = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    place: Place = first["loc"]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    path = ".".join(str(part) for part in place)
    option = next((key for key in (path, str(place[0]) if place else "") if key in from_options), None)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing" or (file is None and path == "budgets"):
        needed = {"devices": "--device DEVICE", "budgets": "--latency-p95 20ms", "name": "--name NAME"}.get(path, "")
        where = "the command" if file is None else f"the spec {file.yaml.path}"
        hint = f"add it, for example {needed}" if needed else ""
        return InvalidInputError(f"{where} says nothing of '{path}'{more}", hint=hint)
    if option is not None or file is None:
        name = _OPTIONS.get(option or path, f"--{(option or path).rpartition('.')[2].replace('_', '-')}")
        return InvalidInputError(f"{name}: {message}{more}", hint="see 'fleetfit search run --help'")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _known_keys(place), n=1, cutoff=0.5)
        guess = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(_known_keys(place))}"
        return file.yaml.error(place, f"unknown key '{path}'; {guess}{more}", of_key=True)
    return file.yaml.error(place, f"{path}: {message}{more}")


def _known_keys(place: Place) -> list[str]:
    model: Any = SearchSpec
    for part in place[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return sorted([*model.model_fields, *([_WORKLOAD] if model is SearchSpec else [])])
