"""What an engine can be asked to do, and what comes back: plain values, fit to travel between machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFile:
    """The user's workload as it was uploaded: one Python file."""

    filename: str
    source: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedBaseline:
    """The workload's own model, trained."""

    checkpoint: bytes = field(repr=False)
    # Of the PyTorch model; the exported artifact has a figure of its own.
    accuracy: float
    train_s: float
    metric_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An export with weights as they are: good for its size and for what devices measure, not for accuracy."""

    artifact: bytes = field(repr=False)
    format: str
    sha256: str
    size_bytes: int
    structure_sha256: str
    passes_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedVariant:
    """A trained artifact, judged by its own runtime."""

    artifact: bytes = field(repr=False)
    format: str
    sha256: str
    size_bytes: int
    structure_sha256: str
    passes_json: str
    accuracy: float
    train_s: float
    # Reference inputs and outputs, one .npz.
    golden: bytes = field(repr=False)
    golden_tolerance: float


class Task(Generic[ResultT]):
    """One piece of work and the type of its result."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBaseline(Task[TrainedBaseline]):
    """Train the workload's own model, or let the workload load it."""

    workload: WorkloadFile
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeTask(Task[ResultT]):
    """Something to do with one recipe and the trained baseline that it starts from."""

    workload: WorkloadFile
    recipe_json: str
    baseline: bytes = field(repr=False)
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDraft(RecipeTask[Draft]):
    """Make a recipe's structure and export it without training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressVariant(RecipeTask[CompressedVariant]):
    """Run a recipe with its training, export, and evaluate what was exported."""
