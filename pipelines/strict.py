"""The base of every model that reads what a user wrote: strict, frozen, and helpful about a misspelt key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self


class StrictModel(BaseModel):
    """Frozen data without coercion; a key that is not known is refused, with the nearest one that is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_key(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise ValidationError.from_exception_data(
                cls.__name__, [_reworded(details, cls.model_fields) for details in error.errors(include_url=False)]
            ) from error


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause that names the known word nearest to this one, or all of them where none is near."""
    candidates = sorted(known)
    matches = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f"did you mean '{matches[0]}'?" if matches else f"known are {', '.join(candidates)}"


def first_problem(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Place and message of the problem that a user should see first: a misspelt key before the one it left missing."""
    problems = error.errors(include_url=False)
    chosen = next((details for details in problems if details["type"] == "unknown_key"), problems[0])
    return chosen["loc"], chosen["msg"]


def problem(kind: str, message: str, *, location: tuple[str | int, ...], given: Any) -> ValidationError:
    """A validation error with one problem of our own wording, at a place below the model that raises it."""
    return ValidationError.from_exception_data("recipe", [_details(kind, message, location, given)])


def _details(kind: str, message: str, location: tuple[str | int, ...], given: Any) -> InitErrorDetails:
    # The message is data, not a template: braces in it stay as they are.
    custom = PydanticCustomError(kind, "{message}", {"message": message})
    return InitErrorDetails(type=custom, loc=location, input=given)


def _reworded(details: Any, known: Iterable[str]) -> InitErrorDetails:
    location = details["loc"]
    if details["type"] == "extra_forbidden" and len(location) == 1:
        message = f"unknown key '{location[0]}'; {nearest(str(location[0]), known)}"
        return _details("unknown_key", message, location, details["input"])
    message = "this key is missing" if details["type"] == "missing" else details["msg"].removeprefix("Value error, ")
    return _details(details["type"], message, location, details["input"])
