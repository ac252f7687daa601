"""The spec of a search: what a user asks for, parsed once at the door."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from orchestrator.errors import FleetfitError, InvalidInputError
from orchestrator.quantity import parse_bytes, parse_duration_s, parse_energy_j, parse_fraction
from orchestrator.search.budget import Budgets


def _with(parse: Any, scale: float = 1.0) -> BeforeValidator:
    """A validator that reads a quantity with its unit, and lets no bare number through."""

    def read(value: Any, info: Any) -> Any:
        if value is None:
            return None
        try:
            parsed = parse(str(value), name=info.field_name)
        except FleetfitError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        return parsed * scale if scale != 1.0 else parsed

    return BeforeValidator(read)


class BudgetSpec(BaseModel):
    """Budgets as a user writes them; each with its unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_p95: Annotated[float | None, _with(parse_duration_s, 1e3)] = None
    energy: Annotated[float | None, _with(parse_energy_j, 1e3)] = None
    memory: Annotated[int | None, _with(parse_bytes)] = None
    size: Annotated[int | None, _with(parse_bytes)] = None
    accuracy: Annotated[float | None, _with(parse_fraction)] = None
    accuracy_drop: Annotated[float | None, _with(parse_fraction)] = None

    def budgets(self) -> Budgets:
        """The budgets in the units of the domain: milliseconds, millijoules, bytes."""
        return Budgets(
            latency_p95_ms=self.latency_p95,
            energy_mj=self.energy,
            memory_bytes=self.memory,
            size_bytes=self.size,
            accuracy=self.accuracy,
            accuracy_drop=self.accuracy_drop,
        )


class MeasuringSpec(BaseModel):
    """How devices measure. The defaults suit a small model on a quiet device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: str = ""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    samples: Annotated[int, Field(ge=72, le=1_000_000)] = 200
    minimum_duration: Annotated[float, _with(parse_duration_s)] = 2.0
    maximum_duration: Annotated[float, _with(parse_duration_s)] = 30.0


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
    time_limit: Annotated[float | None, _with(parse_duration_s)] = None
    parallel: Annotated[int | None, Field(ge=1, le=4096)] = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    measuring: MeasuringSpec = MeasuringSpec()

    @model_validator(mode="before")
    @classmethod
    def _name_the_budgets(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("budgets"):
            raise ValueError("budgets: at least one is needed, for example 'latency_p95: 20ms'")
        return data


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
