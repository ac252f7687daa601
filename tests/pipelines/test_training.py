from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import TrainingDivergedError, WorkloadError
from pipelines.observer import NullObserver
from pipelines.samples import Samples
from pipelines.seeding import seeded
from pipelines.training import ROLLBACKS, Schedule, TaskObjective, Trained, Trainer
from pipelines.workload import Training, Workload
from tests.fakes.workloads import PlainStripes


def _trainer(workload: Workload, observer: Any = None) -> Trainer:
    return Trainer(
        workload=workload,
        train_samples=Samples(workload, "train_data"),
        validation_samples=Samples(workload, "validation_data"),
        observer=observer or NullObserver(),
    )


def _train(workload: Workload, epochs: int = 2, observer: Any = None) -> tuple[nn.Module, Trained]:
    with seeded(0):
        module = workload.model()
        schedule = Schedule(epochs=epochs, learning_rate=workload.training.learning_rate)
        trainer = _trainer(workload, observer)
        return module, trainer.train(module, objective=TaskObjective(workload), schedule=schedule, name="test")


def _weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


class Diary(NullObserver):
    def __init__(self) -> None:
        self.epochs: list[tuple[str, int, int, float, float]] = []
        self.checkpoints = 0

    def epoch(self, pass_name: str, epoch: int, epochs: int, loss: float, metric: float) -> None:
        self.epochs.append((pass_name, epoch, epochs, loss, metric))

    def checkpoint(self) -> None:
        self.checkpoints += 1


class Stumbling(PlainStripes):
    """Its loss is no number at the batches named."""

    def __init__(self, *bad_batches: int) -> None:
        self._bad_batches = bad_batches
        self.batches = 0
        # What the weights are when the loss of each batch is asked for.
        self.weights: list[Tensor] = []

    def model(self) -> nn.Module:
        self._model = super().model()
        return self._model

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        self.batches += 1
        self.weights.append(_weights(self._model))
        loss = super().loss(outputs, targets)
        return loss * math.nan if self.batches in self._bad_batches else loss


class Hopeless(PlainStripes):
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        return super().loss(outputs, targets) * math.inf


class Exploding(PlainStripes):
    """Steps so long that weights overflow, while no single loss says so in time."""

    training = dataclasses.replace(PlainStripes.training, learning_rate=1e38, optimizer="sgd", momentum=0.0)


def test_training_learns_and_leaves_the_model_ready_for_use(stripes: Workload) -> None:
    module, trained = _train(stripes, epochs=4)
    assert trained.accuracy > 0.9
    assert trained.rollbacks == 0
    assert not module.training


def test_the_same_seed_gives_the_same_weights(stripes: Workload) -> None:
    assert torch.equal(_weights(_train(stripes)[0]), _weights(_train(stripes)[0]))


def test_each_epoch_is_told_and_each_batch_can_stop(stripes: Workload) -> None:
    diary = Diary()
    _train(stripes, epochs=3, observer=diary)
    assert [entry[:3] for entry in diary.epochs] == [("test", 1, 3), ("test", 2, 3), ("test", 3, 3)]
    assert diary.epochs[-1][3] < diary.epochs[0][3]
    assert diary.checkpoints >= 3 * 8


def test_what_the_observer_raises_comes_through_unchanged(stripes: Workload) -> None:
    class Cancelled(Exception):  # noqa: N818 - as a caller would name it
        pass

    class Impatient(NullObserver):
        def checkpoint(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        _train(stripes, observer=Impatient())


def test_a_loss_that_is_no_number_brings_the_best_state_back() -> None:
    # Two epochs are eight batches each; the eleventh is in the second one, which is then done again.
    stumbling = Stumbling(11)
    module, trained = _train(stumbling, epochs=2)
    assert trained.rollbacks == 1
    assert stumbling.batches == 8 + 3 + 8
    # The twelfth batch starts from where the ninth did: from the end of the first epoch.
    assert torch.equal(stumbling.weights[11], stumbling.weights[8])
    assert not torch.equal(stumbling.weights[10], stumbling.weights[8])
    assert bool(torch.isfinite(_weights(module)).all())
    assert trained.accuracy > 0.5


def test_after_too_many_rollbacks_training_gives_up_with_the_place() -> None:
    with pytest.raises(TrainingDivergedError) as caught:
        _train(Hopeless())
    assert "test_training.py:" in str(caught.value)
    assert f"in epoch 1 of 2 of test, {ROLLBACKS + 1} times" in str(caught.value)
    assert "learning_rate" in caught.value.hint


def test_weights_that_overflow_count_as_divergence() -> None:
    with pytest.raises(TrainingDivergedError):
        _train(Exploding())


def test_an_exception_in_the_loss_names_its_line() -> None:
    class Broken(PlainStripes):
        def loss(self, outputs: Any, targets: Any) -> Tensor:
            raise KeyError("weights")

    with pytest.raises(WorkloadError, match=r"test_training\.py:\d+: loss\(\) raised KeyError: 'weights'") as caught:
        _train(Broken())
    with open(__file__) as lines:
        assert "raise KeyError" in lines.readlines()[caught.value.line - 1]


def test_augmentation_is_for_training_only() -> None:
    class Zeroing(PlainStripes):
        seen: list[int] = []  # noqa: RUF012 - a record of one test

        def augment(self, inputs: Any) -> Any:
            self.seen.append(len(inputs))
            return torch.zeros_like(inputs)

    _, trained = _train(Zeroing(), epochs=1)
    assert sum(Zeroing.seen) == 256
    assert trained.accuracy < 0.5


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    schedule = Schedule(epochs=1, learning_rate=0.1)
    rates = [schedule.rate(step / 100) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 10
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_batch_norm_statistics_are_those_of_the_data(stripes: Workload) -> None:
    with seeded(0):
        module = stripes.model()
        _trainer(stripes).reestimate_batch_norm(module)
    inputs = Samples(stripes, "train_data").fetch(range(256)).inputs[0]
    convolution, normalization = module[0][0], module[0][1]  # type: ignore[index]
    sums = convolution(inputs).detach()
    torch.testing.assert_close(normalization.running_mean, sums.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-4)
    # The plain mean of each batch's variance, so a little below that of all samples together.
    torch.testing.assert_close(normalization.running_var, sums.var(dim=(0, 2, 3)), atol=0.02, rtol=0.05)
    assert normalization.momentum == 0.1
    assert not module.training


def test_fine_tuning_has_its_own_numbers_where_they_are_given() -> None:
    assert Training(epochs=9).epochs_after_a_pass == 4
    assert Training(epochs=1).epochs_after_a_pass == 1
    assert Training(epochs=9, fine_tune_epochs=2).epochs_after_a_pass == 2
    assert Training(learning_rate=0.5).learning_rate_after_a_pass == 0.5
    assert Training(learning_rate=0.5, fine_tune_learning_rate=0.1).learning_rate_after_a_pass == 0.1
