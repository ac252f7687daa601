"""The context of a run: what passes work on, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipelines.errors import NothingChangedError
from pipelines.evaluation.parity import check_parity
from pipelines.export.artifact import Artifact
from pipelines.export.onnx import export_onnx
from pipelines.export.tflite import export_tflite
from pipelines.network import Network
from pipelines.seeding import seeded
from pipelines.training import Constraint, Objective, Schedule, Trainer
from pipelines.workload import Workload

EXPORTS = {"onnx": export_onnx, "tflite": export_tflite}
# Real inputs on which an export must compute what the model does.
PARITY_SAMPLES = 4


@dataclass(slots=True, kw_only=True)
class Context:
    """One run of a recipe on one workload, as its passes see it."""

    workload: Workload
    trainer: Trainer
    example_inputs: tuple[Tensor, ...]
    # The model as it is now; a pass gives another one to ``restructure``.
    network: Network
    # The baseline, which nothing changes.
    teacher: nn.Module
    # What training minimises; a pass may set another one.
    objective: Objective
    export_format: str
    seed: int
    # False in a draft: nothing is trained, and values of weights do not matter.
    train: bool
    # What must hold of the weights in every training from now on; a pass may set one.
    constraint: Constraint | None = None
    _artifact: Artifact | None = field(default=None, init=False)
    _schedule: Schedule | None = field(default=None, init=False)
    _remarks: list[str] = field(default_factory=list, init=False)

    def restructure(self, network: Network) -> None:
        """Takes a network with another structure; statistics of batch normalization are taken anew."""
        if self._artifact is not None:
            raise RuntimeError("the model was exported already: its structure is fixed")
        self.network = network
        self.reestimate()

    def reestimate(self) -> None:
        """Takes statistics of batch normalization anew, after weights were changed other than by training."""
        if self.train:
            self.trainer.reestimate_batch_norm(self.network.module)

    def ask_for_training(self, *, epochs: int | None, from_scratch: bool = False) -> None:
        """Asks for training before anything that depends on the values of weights.

        Passes that follow each other share one training: the longest and fastest that one of them asked for.

        Args:
            epochs: None: the workload's own number.
            from_scratch: Whether the weights are new, so that the workload's full training is needed.
        """
        settings = self.workload.training
        usual = settings.epochs if from_scratch else settings.epochs_after_a_pass
        rate = settings.learning_rate if from_scratch else settings.learning_rate_after_a_pass
        asked = Schedule(epochs=usual if epochs is None else epochs, learning_rate=rate)
        before = self._schedule
        if before is not None:
            longest, fastest = max(asked.epochs, before.epochs), max(asked.learning_rate, before.learning_rate)
            asked = Schedule(epochs=longest, learning_rate=fastest)
        self._schedule = asked

    def remark(self, text: str) -> None:
        """Notes something that a reader of the pass's report should know."""
        self._remarks.append(text)

    def calibration_samples(self, count: int) -> list[tuple[NDArray[Any], ...]]:
        """At most ``count`` training samples, each as the inputs of one inference."""
        batch = self.trainer.train_samples.spread(count)
        arrays = [tensor.numpy() for tensor in batch.inputs]
        return [tuple(array[row : row + 1] for array in arrays) for row in range(len(batch))]

    @property
    def is_exported(self) -> bool:
        """Whether there is an artifact already, so that the structure is fixed."""
        return self._artifact is not None

    def exported(self) -> Artifact:
        """The artifact as it is now; the model is exported at the first call, and its structure is fixed from then on.

        Raises:
            ExportError: The model cannot be exported, or the export computes something else.
        """
        if self._artifact is None:
            self.trainer.observer.stage(f"export to {self.export_format}")
            self._artifact = EXPORTS[self.export_format](self.network.module, self.example_inputs)
            check_parity(self.network.module, self._artifact, self.trainer.validation_samples.spread(PARITY_SAMPLES))
        return self._artifact

    def rewrite(self, content: bytes) -> None:
        """Takes other bytes of the same format as the artifact.

        Raises:
            NothingChangedError: They are the same bytes.
        """
        artifact = self.exported()
        if content == artifact.content:
            raise NothingChangedError(f"the {artifact.format} file is the same afterwards")
        self._artifact = Artifact(content=content, format=artifact.format)

    def take_remarks(self) -> tuple[str, ...]:
        """The remarks since the last call."""
        remarks, self._remarks = tuple(self._remarks), []
        return remarks

    def train_now(self, name: str) -> float:
        """Does the training that passes asked for; in a draft, puts random numbers in its place.

        Returns:
            Seconds that it took; 0 where nothing was asked for.

        Raises:
            TrainingDivergedError: The loss stopped being a number, and did not come back.
        """
        schedule, self._schedule = self._schedule, None
        if schedule is None:
            return 0.0
        if not self.train:
            stand_in_for_training(self.network.module, seed=self.seed)
            return 0.0
        self.trainer.observer.stage(f"train after {name}")
        trained = self.trainer.train(
            self.network.module,
            objective=self.objective,
            schedule=schedule,
            name=name,
            constraint=self.constraint,
        )
        if trained.rollbacks:
            times = "once" if trained.rollbacks == 1 else f"{trained.rollbacks} times"
            self.remark(f"training diverged {times} and went back to its best state")
        return trained.train_s


@torch.no_grad()
def stand_in_for_training(module: nn.Module, *, seed: int) -> None:
    """Makes the values of a draft's weights as different from each other as training would.

    An exporter leaves out a bias of zeros and keeps equal tensors once. Fresh weights are full of both, trained ones of
    neither: without this, a draft's structure would not be that of the finished artifact.
    """
    statistics = [
        tensor
        for layer in module.modules()
        if isinstance(layer, _BatchNorm)
        for tensor in (layer.running_mean, layer.running_var)
        if tensor is not None
    ]
    with seeded(seed):
        for tensor in (*module.parameters(), *statistics):
            if tensor.is_floating_point() and tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
                tensor.add_(torch.rand_like(tensor), alpha=1e-2)
