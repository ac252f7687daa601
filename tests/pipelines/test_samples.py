from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from pipelines.errors import WorkloadError
from pipelines.samples import Samples
from pipelines.workload import Workload

INPUTS = torch.arange(20.0).reshape(10, 2)
TARGETS = torch.arange(10)


class Rows(Dataset[Any]):
    """The same samples as a map-style dataset."""

    def __init__(self, broken_at: int = -1) -> None:
        self._broken_at = broken_at

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == self._broken_at:
            raise OSError("the disk is gone")
        return INPUTS[index], int(TARGETS[index])


class Given(Workload):
    def __init__(self, data: Any) -> None:
        self._data = data

    def model(self) -> nn.Module:
        return nn.Linear(2, 10)

    def train_data(self) -> Any:
        return self._data

    def validation_data(self) -> Any:
        return self._data

    def example_input(self) -> Tensor:
        return torch.zeros(1, 2)


@pytest.mark.parametrize(
    "data", [(INPUTS, TARGETS), TensorDataset(INPUTS, TARGETS), Rows()], ids=["pair", "tensors", "dataset"]
)
def test_every_form_of_data_gives_the_same_batches(data: Any) -> None:
    samples = Samples(Given(data), "train_data")
    batches = list(samples.batches(4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.inputs[0] for batch in batches]), INPUTS)
    assert torch.equal(torch.cat([batch.targets for batch in batches]), TARGETS)


def test_a_shuffle_has_every_sample_once_and_repeats_with_its_seed() -> None:
    samples = Samples(Given((INPUTS, TARGETS)), "train_data")
    torch.manual_seed(3)
    first = torch.cat([batch.targets for batch in samples.shuffled_batches(5)])
    torch.manual_seed(3)
    second = torch.cat([batch.targets for batch in samples.shuffled_batches(5)])
    assert torch.equal(first, second)
    assert not torch.equal(first, TARGETS)
    assert torch.equal(first.sort().values, TARGETS)


def test_a_last_batch_of_one_is_left_out() -> None:
    samples = Samples(Given((INPUTS, TARGETS)), "train_data")
    assert [len(batch) for batch in samples.shuffled_batches(3)] == [3, 3, 3]


def test_a_few_samples_are_spread_over_data_that_is_sorted() -> None:
    samples = Samples(Given((INPUTS, TARGETS)), "train_data")
    assert samples.spread(5).targets.tolist() == [0, 2, 4, 6, 8]
    assert len(samples.spread(50)) == 10


def test_several_inputs_stay_apart() -> None:
    samples = Samples(Given(((INPUTS, INPUTS * 2), TARGETS)), "train_data")
    batch = samples.fetch([1, 2])
    assert torch.equal(batch.inputs[1], batch.inputs[0] * 2)


def test_a_dataset_that_raises_is_blamed() -> None:
    samples = Samples(Given(Rows(broken_at=3)), "train_data")
    with pytest.raises(
        WorkloadError, match=r"test_samples\.py:\d+: an item of train_data\(\) raised OSError: the disk is gone"
    ):
        list(samples.batches(4))
