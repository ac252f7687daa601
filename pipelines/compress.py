"""Running a recipe: from a trained baseline to an artifact, with what each pass did."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.blame import user_code
from pipelines.checking import check_agreement, checked_model
from pipelines.checkpoint import load_checkpoint, load_weights, save_checkpoint
from pipelines.context import Context
from pipelines.errors import NothingChangedError, PassError
from pipelines.evaluation.accuracy import artifact_accuracy, network_accuracy
from pipelines.evaluation.delivery import delivered_bytes
from pipelines.evaluation.golden import golden_npz
from pipelines.evaluation.operations import mac_count, parameter_bytes, parameter_count
from pipelines.evaluation.structure import structure_sha256, weight_bytes
from pipelines.export.artifact import Artifact
from pipelines.network import Network
from pipelines.observer import NullObserver, Observer
from pipelines.passes import Figures, Pass, PassReport, Stage
from pipelines.recipe import Recipe
from pipelines.samples import Samples
from pipelines.seeding import seeded
from pipelines.tolerance import FLOAT_TOLERANCE
from pipelines.training import Schedule, TaskObjective, Trainer
from pipelines.workload import Workload, as_tuple

GOLDEN_SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The trained model that every recipe starts from."""

    # Weights, as ``pipelines.checkpoint`` writes them.
    checkpoint: bytes
    # Of the PyTorch model on the validation data.
    accuracy: float
    train_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a recipe made of a workload."""

    artifact: bytes
    format: str
    # Of the artifact.
    sha256: str
    # Of the file as it is loaded, and as an entropy coder can pack it for delivery.
    size_bytes: int
    delivered_bytes: int
    # Equal for two artifacts with the same graph and types, whatever their weights.
    structure_sha256: str
    # Of the exported file run by its runtime, on the validation data; None for a draft.
    accuracy: float | None
    # One .npz: reference inputs and the artifact's own outputs, see ``pipelines.evaluation.golden``.
    golden: bytes
    # Largest difference to the golden outputs that another machine may show, as a share of their largest magnitude.
    golden_tolerance: float
    passes: tuple[PassReport, ...]
    train_s: float


def train_baseline(workload: Workload, *, seed: int, observer: Observer | None = None) -> Baseline:
    """The workload's model, trained; where the workload names a checkpoint, that one's weights.

    Raises:
        WorkloadError: The user's code raised.
        TrainingDivergedError: The loss stopped being a number, and did not come back.
        CheckpointError: The workload's checkpoint cannot be read, or is of another model.
    """
    watcher = observer or NullObserver()
    with seeded(seed):
        trainer = _trainer(workload, watcher)
        module = checked_model(workload)
        check_agreement(workload, module, trainer.train_samples, trainer.validation_samples)
        if workload.checkpoint is not None:
            watcher.stage("load the baseline's weights")
            load_weights(Path(workload.checkpoint), module)
            accuracy, train_s = network_accuracy(module, workload, trainer.validation_samples, watcher), 0.0
        else:
            watcher.stage("train the baseline")
            schedule = Schedule(epochs=workload.training.epochs, learning_rate=workload.training.learning_rate)
            trained = trainer.train(module, objective=TaskObjective(workload), schedule=schedule, name="baseline")
            accuracy, train_s = trained.accuracy, trained.train_s
    return Baseline(checkpoint=save_checkpoint(Network(module=module)), accuracy=accuracy, train_s=train_s)


def compress(
    workload: Workload,
    recipe: Recipe,
    *,
    baseline: bytes,
    seed: int,
    train: bool = True,
    observer: Observer | None = None,
) -> Variant:
    """What the recipe makes of the workload.

    Args:
        workload: The user's model, data, loss and metric.
        recipe: Passes and export format.
        baseline: Checkpoint of the trained baseline.
        seed: Same machine, same seed: same bytes.
        train: False makes a draft: structure and data types of the finished artifact, weights untrained, accuracy
            unknown. A draft's structure hash is that of the finished artifact.
        observer: Told of each stage and epoch.

    Raises:
        WorkloadError: The user's code raised.
        CheckpointError: The baseline is not of this workload's model.
        PassError: A pass changed nothing, or cannot work on this model.
        TrainingDivergedError: The loss stopped being a number, and did not come back.
        ExportError: The model cannot be exported, or the artifact does not run.
    """
    watcher = observer or NullObserver()
    with seeded(seed):
        context = _context(workload, recipe, baseline, seed, train, watcher)
        run = _Run(context)
        for index, step in enumerate(recipe.passes):
            run.apply(step, last_of_its_stage=_ends_its_stage(recipe.passes, index))
        return run.finish(recipe)


class _Run:
    """A recipe on its way: the context, and the reports so far."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reports: list[PassReport] = []
        # Titles of passes that wait for their training.
        self._waiting: list[str] = []
        # By the file's hash.
        self._accuracies: dict[str, float] = {}
        self._figures = self._of_network()

    def apply(self, step: Pass, *, last_of_its_stage: bool) -> None:
        """Applies one pass, trains where its stage ends, and reports."""
        context = self._context
        context.trainer.observer.stage(step.title)
        if step.stage is Stage.PRECISION and not context.is_exported:
            self._figures = replace(self._figures, weight_bytes=weight_bytes(context.exported()))
        before, train_s = self._figures, 0.0
        try:
            step.apply(context)
        except PassError as error:
            raise type(error)(f"{step.title}: {error.message}", hint=error.hint) from error
        if step.changes_structure and parameter_count(context.network.module) == before.parameters:
            raise NothingChangedError(f"{step.title}: the model has as many parameters as before")
        if step.needs_training:
            self._waiting.append(step.title)
        if self._waiting and last_of_its_stage:
            train_s = self._train()
        self._figures = self._of_artifact() if context.is_exported else self._of_network()
        self._reports.append(
            PassReport(
                name=step.name,
                title=step.title,
                parameters=step.model_dump(mode="json"),
                before=before,
                after=self._figures,
                train_s=train_s,
                remarks=context.take_remarks(),
            )
        )

    def finish(self, recipe: Recipe) -> Variant:
        """Exports, evaluates the file, and gives everything that is known of it."""
        context = self._context
        artifact = context.exported()
        return Variant(
            artifact=artifact.content,
            format=artifact.format,
            sha256=artifact.sha256,
            size_bytes=len(artifact.content),
            delivered_bytes=delivered_bytes(artifact.content),
            structure_sha256=structure_sha256(artifact),
            accuracy=self._accuracy_of(artifact),
            golden=golden_npz(artifact, context.trainer.validation_samples.spread(GOLDEN_SAMPLES)),
            golden_tolerance=max([FLOAT_TOLERANCE, *(step.tolerance for step in recipe.passes)]),
            passes=tuple(self._reports),
            train_s=sum(report.train_s for report in self._reports),
        )

    def _train(self) -> float:
        context, waiting = self._context, self._waiting
        self._waiting = []
        if len(waiting) > 1 and context.train:
            context.remark(f"one training for {' and '.join(waiting)}")
        return context.train_now(" + ".join(waiting))

    def _of_network(self) -> Figures:
        context = self._context
        module, trainer = context.network.module, context.trainer
        with user_code(context.workload, "the model's forward on example_input()", method="model"):
            macs = mac_count(module, context.example_inputs)
        return Figures(
            parameters=parameter_count(module),
            macs=macs,
            weight_bytes=parameter_bytes(module),
            accuracy=network_accuracy(module, context.workload, trainer.validation_samples, trainer.observer)
            if context.train
            else None,
        )

    def _of_artifact(self) -> Figures:
        artifact = self._context.exported()
        return replace(self._figures, weight_bytes=weight_bytes(artifact), accuracy=self._accuracy_of(artifact))

    def _accuracy_of(self, artifact: Artifact) -> float | None:
        """Accuracy of the file, run once for each file; None in a draft."""
        context, trainer = self._context, self._context.trainer
        if not context.train:
            return None
        if artifact.sha256 not in self._accuracies:
            trainer.observer.stage("accuracy of the file")
            found = artifact_accuracy(artifact, context.workload, trainer.validation_samples, trainer.observer)
            self._accuracies[artifact.sha256] = found
        return self._accuracies[artifact.sha256]


def _context(
    workload: Workload, recipe: Recipe, baseline: bytes, seed: int, train: bool, observer: Observer
) -> Context:
    trainer = _trainer(workload, observer)
    module = checked_model(workload)
    with user_code(workload, "example_input()", method="example_input"):
        example_inputs = as_tuple(workload.example_input())
    network = load_checkpoint(baseline, module)
    network.module.eval()
    teacher = copy.deepcopy(network.module)
    teacher.requires_grad_(False)
    return Context(
        workload=workload,
        trainer=trainer,
        example_inputs=example_inputs,
        network=network,
        teacher=teacher,
        objective=TaskObjective(workload),
        export_format=recipe.export.format,
        seed=seed,
        train=train,
    )


def _trainer(workload: Workload, observer: Observer) -> Trainer:
    return Trainer(
        workload=workload,
        train_samples=Samples(workload, "train_data"),
        validation_samples=Samples(workload, "validation_data"),
        observer=observer,
    )


def _ends_its_stage(passes: tuple[Pass, ...], index: int) -> bool:
    return index + 1 == len(passes) or passes[index + 1].stage > passes[index].stage
