"""A recipe: an ordered list of passes and the export format. Data: it can be written, compared, hashed and sent.

Loading this module does not load PyTorch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, WrapValidator, model_validator
from typing_extensions import Self

from pipelines.errors import PassError, RecipeError
from pipelines.passes import Pass, Stage
from pipelines.registry import find_pass, pass_names
from pipelines.strict import StrictModel, first_problem, nearest, problem


class ExportSettings(StrictModel):
    """What kind of file the recipe ends in."""

    format: Literal["onnx", "tflite"] = "onnx"


def _pass_from(data: Any, handler: Any) -> Pass:
    """The pass that a mapping with the key ``pass`` describes."""
    if isinstance(data, Pass):
        return data
    if not isinstance(data, Mapping):
        message = f"a pass is a mapping such as {{pass: structured_prune, amount: 0.5}}, not {data!r}"
        raise problem("pass_type", message, location=(), given=data)
    name = data.get("pass")
    if not isinstance(name, str):
        message = f"the key 'pass' with the pass's name is missing; known are {', '.join(pass_names())}"
        raise problem("pass_missing", message, location=(), given=data)
    try:
        kind = find_pass(name)
    except PassError as error:
        raise problem("pass_plugin", error.message, location=("pass",), given=name) from error
    if kind is None:
        message = f"unknown pass '{name}'; {nearest(name, pass_names())}"
        raise problem("pass_unknown", message, location=("pass",), given=name)
    return kind.model_validate({key: value for key, value in data.items() if key != "pass"})


def _passes_from(data: Any) -> Any:
    if not isinstance(data, list | tuple):
        raise problem("passes_type", f"it must be a list of passes, not {data!r}", location=(), given=data)
    return tuple(data)


AnyPass = SerializeAsAny[Annotated[Pass, WrapValidator(_pass_from)]]


class Recipe(StrictModel):
    """An ordered list of passes, and the format of the file that it ends in."""

    name: Annotated[str, Field(max_length=100)] | None = None
    passes: Annotated[tuple[AnyPass, ...], BeforeValidator(_passes_from)] = ()
    export: ExportSettings = ExportSettings()

    @model_validator(mode="after")
    def _in_an_order_that_makes_sense(self) -> Self:
        reached: Pass | None = None
        for index, step in enumerate(self.passes):
            if reached is not None and (complaint := _complaint(reached, step)):
                raise problem("pass_order", complaint, location=("passes", index), given=step.name)
            objection = step.objection(self.export.format)
            if objection:
                raise problem("pass_format", objection, location=("passes", index), given=step.name)
            reached = step
        return self

    @property
    def title(self) -> str:
        """The recipe in a few words: its name where it has one, else its passes."""
        if self.name:
            return self.name
        passes = " + ".join(step.title for step in self.passes) or "baseline"
        return passes if self.export.format == "onnx" else f"{passes} ({self.export.format})"

    def canonical_json(self) -> str:
        """The recipe as JSON, every default written out, the same for equal recipes. A name is not part of it."""
        return json.dumps(self.model_dump(mode="json", exclude={"name"}), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON: equal for recipes that do the same."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def parse_recipe(data: Mapping[str, Any]) -> Recipe:
    """The recipe that plain data describes.

    Raises:
        RecipeError: A key or pass is unknown, a value is out of range, or the order makes no sense; the message names
            the first such place.
    """
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        location, message = first_problem(error)
        place = ".".join(str(part) for part in location)
        raise RecipeError(f"{place}: {message}" if place else message) from error


def _complaint(earlier: Pass, later: Pass) -> str:
    """Why the later pass cannot follow the earlier one; empty where it can."""
    if later.stage < earlier.stage and earlier.stage is Stage.SPARSITY:
        return (
            f"{later.name} cannot come after {earlier.name}: it makes other layers, whose weights {earlier.name} has "
            f"not chosen; put {later.name} first"
        )
    if later.stage < earlier.stage:
        return (
            f"{later.name} cannot come after {earlier.name}: {earlier.name} fixes the data types of a finished file, "
            f"and {later.name} must change and retrain the model that the file is made of; put {later.name} first"
        )
    if later.stage is Stage.SPARSITY and earlier.stage is Stage.SPARSITY:
        return f"{later.name} cannot come after {earlier.name}: zeros are chosen once; keep the one with more of them"
    if later.stage is Stage.PRECISION and earlier.stage is Stage.PRECISION:
        return (
            f"{later.name} cannot come after {earlier.name}: the weights are no longer floating point; keep one of them"
        )
    return ""
