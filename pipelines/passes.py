"""What a pass is: strict data that says what to do, and does it.

A pass is one class in one file: its fields are the parameters of a recipe, ``apply`` is its life cycle. What it does to
tensors lies in files of their own, imported when the pass runs: a recipe can be read, checked and planned with
without loading PyTorch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from pipelines.strict import StrictModel
from pipelines.tolerance import FLOAT_TOLERANCE

if TYPE_CHECKING:
    from pipelines.context import Context


class Stage(IntEnum):
    """What a pass works on, in the order in which passes can follow each other."""

    # The model's layers and their shapes.
    STRUCTURE = 1
    # Which weights of a settled structure are zero.
    SPARSITY = 2
    # The data types of a finished artifact.
    PRECISION = 3


class Pass(StrictModel, ABC):
    """One compression step with typed parameters.

    A new pass subclasses this in a file of its own and is named in the table of ``pipelines.registry``, or in the
    entry-point group ``fleetfit.passes`` of another package.
    """

    # Its name in recipes.
    name: ClassVar[str]
    stage: ClassVar[Stage]
    # Whether the model must be trained after it to be of use.
    needs_training: ClassVar[bool]
    # Whether shapes or layers of the model are others after it.
    changes_structure: ClassVar[bool]
    # Formats of artifacts that it can be part of.
    formats: ClassVar[tuple[str, ...]] = ("onnx", "tflite")
    # Largest difference that another processor may make to outputs of such an artifact, as FLOAT_TOLERANCE is meant.
    tolerance: ClassVar[float] = FLOAT_TOLERANCE

    @property
    @abstractmethod
    def title(self) -> str:
        """The pass in a few words, for tables: ``structured_prune 0.5``."""

    @abstractmethod
    def apply(self, context: Context) -> None:
        """Does the pass's work on what the context holds.

        The caller compares figures before and after, trains where the pass asked for it, and writes the report.

        Raises:
            NothingChangedError: The model would be as it was.
            UnsupportedModelError: The pass cannot work on a model like this.
        """

    def objection(self, export_format: str) -> str:
        """Why these parameters cannot be part of an artifact of this format; empty where they can."""
        if export_format not in self.formats:
            return f"{self.name} does not work for {export_format}, only for {' and '.join(self.formats)}"
        return ""

    @model_serializer(mode="wrap")
    def _with_its_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"pass": self.name, **handler(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a model or an artifact amounts to."""

    parameters: int
    # Multiply-accumulate operations of one inference.
    macs: int
    # Bytes of the weights alone, as stored.
    weight_bytes: int
    # In the workload's own metric; None where nothing was evaluated, as in a draft.
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """What one pass did."""

    name: str
    title: str
    # The pass as it stands in a recipe.
    parameters: Mapping[str, Any]
    before: Figures
    after: Figures
    train_s: float
    # What a reader should know: layers left alone, choices made, trainings shared.
    remarks: tuple[str, ...]
