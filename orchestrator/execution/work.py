"""What a worker does with a task: calls the compression library, and says how it goes.

Imports PyTorch; only workers import this module.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from orchestrator.errors import OperationError, WorkloadFailedError
from orchestrator.execution.tasks import (
    BuildDraft,
    CompressedVariant,
    CompressVariant,
    Draft,
    RecipeTask,
    Task,
    TrainBaseline,
    TrainedBaseline,
    WorkloadFile,
)
from pipelines.checking import check_workload
from pipelines.compress import compress, train_baseline
from pipelines.errors import PipelinesError, WorkloadError
from pipelines.loading import load_workload_source
from pipelines.recipe import Recipe


class Turns(Protocol):
    """Whoever decides when the work must step aside for a moment."""

    def give_way(self) -> None:
        """Returns when the work may go on."""


def perform(task: Task[Any], *, report: Callable[[str], None], turns: Turns) -> object:
    """The result of the task.

    Raises:
        WorkloadFailedError: The user's code raised, or is wrong; the message names file and line.
        OperationError: The library could not do it; the message says what and why.
    """
    watcher = _Watcher(report, turns)
    try:
        if isinstance(task, TrainBaseline):
            return _train_baseline(task, watcher)
        if isinstance(task, BuildDraft):
            return _build_draft(task, watcher)
        if isinstance(task, CompressVariant):
            return _compress_variant(task, watcher)
    except WorkloadError as error:
        raise WorkloadFailedError(error.message, hint=error.hint) from error
    except PipelinesError as error:
        raise OperationError(error.message, hint=error.hint, reason=error.reason) from error
    except Exception as error:
        place = _place_in(error, _filename(task))
        if place is None:
            raise
        raise WorkloadFailedError(f"{place}: {type(error).__name__}: {error}") from error
    raise TypeError(f"no worker knows how to do a {type(task).__name__}")


class _Watcher:
    """Turns what the library tells into lines for people, and steps aside between batches."""

    def __init__(self, report: Callable[[str], None], turns: Turns) -> None:
        self._report = report
        self._turns = turns

    def stage(self, text: str) -> None:
        """Passes the stage on."""
        self._report(text)

    def epoch(self, pass_name: str, epoch: int, epochs: int, loss: float, metric: float) -> None:
        """Passes the epoch on."""
        self._report(f"{pass_name}: epoch {epoch} of {epochs}, loss {loss:.3g}, metric {metric:.4f}")

    def checkpoint(self) -> None:
        """Steps aside if someone waits to measure on this host."""
        self._turns.give_way()


def _train_baseline(task: TrainBaseline, watcher: _Watcher) -> TrainedBaseline:
    workload = load_workload_source(task.workload.source, task.workload.filename)
    watcher.stage("check the workload")
    check_workload(workload)
    baseline = train_baseline(workload, seed=task.seed, observer=watcher)
    return TrainedBaseline(
        checkpoint=baseline.checkpoint,
        accuracy=baseline.accuracy,
        train_s=baseline.train_s,
        metric_name=workload.metric_name,
    )


def _build_draft(task: BuildDraft, watcher: _Watcher) -> Draft:
    variant = _compress(task, watcher, train=False)
    return Draft(
        artifact=variant.artifact,
        format=variant.format,
        sha256=variant.sha256,
        size_bytes=variant.size_bytes,
        structure_sha256=variant.structure_sha256,
        passes_json=_passes_json(variant),
    )


def _compress_variant(task: CompressVariant, watcher: _Watcher) -> CompressedVariant:
    variant = _compress(task, watcher, train=True)
    return CompressedVariant(
        artifact=variant.artifact,
        format=variant.format,
        sha256=variant.sha256,
        size_bytes=variant.size_bytes,
        structure_sha256=variant.structure_sha256,
        passes_json=_passes_json(variant),
        accuracy=variant.accuracy,
        train_s=variant.train_s,
        golden=variant.golden,
        golden_tolerance=variant.golden_tolerance,
    )


def _compress(task: RecipeTask[Any], watcher: _Watcher, *, train: bool) -> Any:
    workload = load_workload_source(task.workload.source, task.workload.filename)
    recipe = Recipe.model_validate_json(task.recipe_json)
    return compress(workload, recipe, baseline=task.baseline, seed=task.seed, train=train, observer=watcher)


def _passes_json(variant: Any) -> str:
    return json.dumps([asdict(report) for report in variant.passes], separators=(",", ":"))


def _filename(task: Task[Any]) -> str:
    workload = getattr(task, "workload", None)
    return workload.filename if isinstance(workload, WorkloadFile) else ""


def _place_in(error: Exception, filename: str) -> str | None:
    """``file:line`` of the innermost frame in the user's file; None where the error never passed through it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if filename and frame.filename == filename]
    return f"{filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else None
