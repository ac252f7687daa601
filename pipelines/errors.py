"""Everything that the compression library says when it cannot go on.

::

    PipelinesError
    ├── RecipeError               the recipe cannot be read, or makes no sense
    ├── WorkloadError             the user's file is wrong, or its code raised; names file and line
    ├── CheckpointError           bytes that are no checkpoint of this model
    ├── PassError                 a pass could not do its work; names the pass
    │   ├── NothingChangedError   it would have left the model as it was
    │   └── UnsupportedModelError it cannot work on a model like this
    ├── TrainingDivergedError     the loss stopped being a number, and did not come back
    └── ExportError               no artifact could be made, or run
        ├── FormatUnavailableError what this format needs is not installed
        └── ParityError           the exported file does not compute what the model computes

A message says what was wrong and where; the hint says what to do. ``reason`` is stable: scripts may rely on it.
"""

from __future__ import annotations

from typing import ClassVar


class PipelinesError(Exception):
    """Base of every error of this library.

    Args:
        message: What was wrong, and where.
        hint: What to do about it; empty where nothing can be said.
    """

    reason: ClassVar[str] = "PIPELINES_ERROR"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RecipeError(PipelinesError):
    """The recipe cannot be read, or makes no sense; from a file, the message names line and column."""

    reason = "RECIPE_INVALID"


class WorkloadError(PipelinesError):
    """The workload is wrong, or raised.

    Args:
        message: What was wrong, beginning with ``file:line``.
        hint: What to do about it.
        file: The workload file.
        line: Line in it, counted from 1; 0 where no line is to blame.
    """

    reason = "WORKLOAD_FAILED"

    def __init__(self, message: str, *, hint: str = "", file: str = "", line: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line


class CheckpointError(PipelinesError):
    """The bytes are no checkpoint, or one of another model."""

    reason = "CHECKPOINT_INVALID"


class PassError(PipelinesError):
    """A pass could not do its work."""

    reason = "PASS_FAILED"


class NothingChangedError(PassError):
    """The pass would have left the model as it was, which is never a success."""

    reason = "PASS_CHANGED_NOTHING"


class UnsupportedModelError(PassError):
    """The pass cannot work on a model like this."""

    reason = "PASS_UNSUPPORTED_MODEL"


class TrainingDivergedError(PipelinesError):
    """The loss stopped being a number; going back to the best state and slowing down did not help."""

    reason = "TRAINING_DIVERGED"


class ExportError(PipelinesError):
    """No artifact could be made of the model, or the artifact does not run."""

    reason = "EXPORT_FAILED"


class FormatUnavailableError(ExportError):
    """What this format needs is not installed here."""

    reason = "FORMAT_UNAVAILABLE"


class ParityError(ExportError):
    """The exported file does not compute what the model computes."""

    reason = "EXPORT_DIFFERS"
