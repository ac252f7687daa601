"""What a manifest says of a trial: its files, its figures, and where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from orchestrator.releases.manifest import (
    ArtifactFile,
    BudgetFigure,
    Compatibility,
    Golden,
    Interface,
    Manifest,
    Metric,
    Provenance,
    make_manifest,
)
from orchestrator.search.search import Search
from orchestrator.search.trial import Trial

# Whose versions decide what the bytes of an artifact are.
_TOOLS = ("fleetfit", "torch", "torch-pruning", "onnx", "onnxruntime", "litert-torch", "ai-edge-quantizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What is known of a trial's files once their bytes were read and hashed."""

    artifact_size_bytes: int
    golden_size_bytes: int
    golden_tolerance: float
    interface: Interface


def describe(search: Search, trial: Trial, delivered: Delivered, *, name: str, version: str, counter: int) -> Manifest:
    """The manifest of a trial as a release. The same facts give the same manifest: it holds no time.

    Raises:
        InvalidInputError: Name or version cannot be one, or the trial has a figure that no manifest can hold.
    """
    return make_manifest(
        name=name,
        version=version,
        counter=counter,
        compat=Compatibility(),
        io=delivered.interface,
        file=ArtifactFile(
            path=f"model.{trial.format}",
            size_bytes=delivered.artifact_size_bytes,
            sha256=trial.artifact_sha256,
            format=trial.format,
        ),
        golden=Golden(
            sha256=trial.golden_sha256,
            size_bytes=delivered.golden_size_bytes,
            tolerance=delivered.golden_tolerance,
        ),
        budgets=tuple(
            BudgetFigure(
                budget=verdict.budget,
                limit=verdict.limit,
                value=verdict.value,
                held=verdict.held,
                device=verdict.device,
            )
            for verdict in trial.verdicts
        ),
        metrics=() if trial.accuracy is None else (Metric(name=search.metric_name, value=trial.accuracy),),
        provenance=Provenance(
            search_id=search.id,
            search_name=search.name,
            trial_id=trial.id,
            trial_number=trial.number,
            trial_title=trial.title,
            recipe_sha256=hashlib.sha256(trial.recipe_json.encode()).hexdigest(),
            workload_sha256=search.workload_sha256,
            seed=search.spec.seed,
            tools=dict(_installed_tools()),
        ),
    )


def _installed_tools() -> Iterator[tuple[str, str]]:
    """Names and versions of those that are installed here."""
    for tool in _TOOLS:
        try:
            yield tool, metadata.version(tool)
        except metadata.PackageNotFoundError:
            continue
