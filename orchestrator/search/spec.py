"""The spec of a search: what a user asks for, parsed once at the door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from orchestrator.errors import InvalidInputError
from orchestrator.quantity import parse_bytes, parse_duration_s, parse_energy_j, parse_fraction
from orchestrator.search.budget import Budgets


def _quantity(parse: Callable[..., float]) -> AfterValidator:
    """A validator that lets only quantities through that ``parse`` can read, and keeps them as they were written."""

    def check(text: str, info: ValidationInfo) -> str:
        try:
            parse(text, name=str(info.field_name))
        except InvalidInputError as error:
            raise ValueError(f"{error.message.partition(': ')[2]}; {error.hint}") from error
        return text

    return AfterValidator(check)


Duration = Annotated[str, _quantity(parse_duration_s)]
EnergyQuantity = Annotated[str, _quantity(parse_energy_j)]
Size = Annotated[str, _quantity(parse_bytes)]
Share = Annotated[str, Field(coerce_numbers_to_str=True), _quantity(parse_fraction)]


class BudgetSpec(BaseModel):
    """Budgets as a user writes them; each with its unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_p95: Duration | None = None
    energy: EnergyQuantity | None = None
    memory: Size | None = None
    size: Size | None = None
    accuracy: Share | None = None
    accuracy_drop: Share | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> BudgetSpec:
        if not self.model_dump(exclude_none=True):
            raise ValueError("at least one budget is needed, for example 'latency_p95: 20ms'")
        return self

    def budgets(self) -> Budgets:
        """The budgets in the units of the domain: milliseconds, millijoules, bytes, fractions."""
        return Budgets(
            latency_p95_ms=_parsed(parse_duration_s, self.latency_p95, 1e3),
            energy_mj=_parsed(parse_energy_j, self.energy, 1e3),
            memory_bytes=None if self.memory is None else parse_bytes(self.memory, name="memory"),
            size_bytes=None if self.size is None else parse_bytes(self.size, name="size"),
            accuracy=_parsed(parse_fraction, self.accuracy),
            accuracy_drop=_parsed(parse_fraction, self.accuracy_drop),
        )


class MeasuringSpec(BaseModel):
    """How devices measure. The defaults suit a small model on a quiet device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: str = ""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    samples: Annotated[int, Field(ge=72, le=1_000_000)] = 200
    minimum_duration: Duration = "2s"
    maximum_duration: Duration = "30s"

    @property
    def minimum_duration_s(self) -> float:
        """Shortest timed phase."""
        return parse_duration_s(self.minimum_duration, name="minimum_duration")

    @property
    def maximum_duration_s(self) -> float:
        """Longest timed phase."""
        return parse_duration_s(self.maximum_duration, name="maximum_duration")


class SearchSpec(BaseModel):
    """What a search looks for, on which devices, and how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    devices: Annotated[tuple[str, ...], Field(min_length=1)]
    budgets: BudgetSpec
    # Empty: the default space of the workload.
    recipes: tuple[dict[str, Any], ...] = ()
    formats: tuple[str, ...] = ("onnx",)
    sampler: str = "measure-first"
    max_trials: Annotated[int, Field(ge=1, le=100_000)] = 100
    time_limit: Duration | None = None
    parallel: Annotated[int | None, Field(ge=1, le=4096)] = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    measuring: MeasuringSpec = MeasuringSpec()

    @property
    def time_limit_s(self) -> float | None:
        """How long the search may take; None: until its space is spent."""
        return None if self.time_limit is None else parse_duration_s(self.time_limit, name="time_limit")


def parse_search_spec(data: dict[str, Any]) -> SearchSpec:
    """The spec, checked.

    Raises:
        InvalidInputError: A key is unknown or missing, or a value is out of range; the message names the first such
            place by its path.
    """
    try:
        return SearchSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "spec"
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"{place}: {message}", hint="see 'fleetfit search run --help'") from error


def _parsed(parse: Callable[..., float], text: str | None, scale: float = 1.0) -> float | None:
    return None if text is None else parse(text, name="budget") * scale
